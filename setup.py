"""The part of the build that pyproject.toml cannot express: the start-up hook and the links."""

import re
from pathlib import Path

from setuptools import Distribution, setup

from distutils.command.install_data import install_data  # isort: skip (setuptools provides it)

# The web address of the published repository, without a slash at the end. Set it before an
# upload to a package index. The links of the package page and of its README follow from it.
REPOSITORY = ''

README = Path(__file__).parent / 'README.md'
RELATIVE_LINK = re.compile(r'(\]\(|\bsrc="|\bhref=")(?!#|[a-z]+:)')


class WithStartupHook(Distribution):
    """Makes editable installs include the data files: they check `has_data`, which is missing."""

    has_data = Distribution.has_data_files


class InstallStartupHook(install_data):
    """Installs chainer_ssd.pth beside the package, in the folder that Python scans for it."""

    def finalize_options(self):
        self.set_undefined_options(
            'install', ('install_lib', 'install_dir'), ('root', 'root'), ('force', 'force')
        )


def resolve_links(text, repository):
    """Returns a Markdown text whose relative links point into ``repository``."""
    return RELATIVE_LINK.sub(rf'\g<1>{repository}/raw/main/', text) if repository else text


def list_links(repository):
    """Returns the links that a package index shows."""
    if not repository:
        return {}
    return {
        'Source': repository,
        'Issues': f'{repository}/issues',
        'Changelog': f'{repository}/blob/main/CHANGELOG.md',
    }


if __name__ == '__main__':
    setup(
        long_description=resolve_links(README.read_text('utf-8'), REPOSITORY),
        long_description_content_type='text/markdown',
        project_urls=list_links(REPOSITORY),
        data_files=[('', ['chainer_ssd.pth'])],
        distclass=WithStartupHook,
        cmdclass={'install_data': InstallStartupHook},
    )
