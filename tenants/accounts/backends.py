"""Who may sign in, and what they may do."""

from allauth.account.auth_backends import AuthenticationBackend

from tenants.accounts import roles


class RoleBackend(AuthenticationBackend):
    """allauth's sign-in by e-mail. Staff have the rights of their role, operators Django's permissions."""

    def has_perm(self, user_obj, perm, obj=None):
        if user_obj.role:
            return user_obj.is_active and perm in roles.RIGHTS[user_obj.role]
        return super().has_perm(user_obj, perm, obj)
