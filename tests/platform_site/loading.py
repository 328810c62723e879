"""``python -m tests.platform_site.loading``: what every process of ours begins with."""

from platform_site import env

if __name__ == "__main__":
    env.load()
