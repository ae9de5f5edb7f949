"""Metadata and extras; what the build needs beyond them stands in pyproject.toml."""
import re
from pathlib import Path

from setuptools import Distribution, find_packages, setup

from distutils.command.install_data import install_data  # isort: skip (setuptools provides it)


class WithStartupHook(Distribution):
    """Editable installs ask `has_data` before they install data files; setuptools lacks it."""

    has_data = Distribution.has_data_files


class InstallStartupHook(install_data):
    """Puts chainer_ssd.pth where Python looks for such files: beside the package."""

    def finalize_options(self):
        self.set_undefined_options(
            'install', ('install_lib', 'install_dir'), ('root', 'root'), ('force', 'force')
        )


here = Path(__file__).parent
version = re.search(
    r"^__version__ = '(.+)'$", (here / 'chainer_ssd/__init__.py').read_text('utf-8'), re.M)[1]

data = ['opencv-python-headless', 'Pillow', 'defusedxml']
eval_ = ['pycocotools']
plot = ['matplotlib']
mpi = ['mpi4py>=4', 'mpich']

setup(
    name='chainer_ssd',
    version=version,
    description='The SSD multibox training objective for Chainer: one CPU, one GPU or many nodes',
    long_description=(here / 'README.md').read_text('utf-8'),
    long_description_content_type='text/markdown',
    author='the chainer_ssd authors',
    license='MIT',
    license_files=['LICENSE'],
    classifiers=[
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['chainer_ssd', 'chainer_ssd.*']),
    package_data={'chainer_ssd._kernels': ['*.cu']},
    py_modules=['chainer_ssd_startup'],
    data_files=[('', ['chainer_ssd.pth'])],
    distclass=WithStartupHook,
    cmdclass={'install_data': InstallStartupHook},
    python_requires='>=3.9',
    install_requires=['chainer==7.8.1', 'numpy>=1.23,<3'],
    extras_require={
        'data': data,
        'eval': eval_,
        'plot': plot,
        'mpi': mpi,
        'cuda12x': ['cupy-cuda12x[ctk]>=13.6,<15', 'nvidia-nccl-cu12'],
        'cuda13x': ['cupy-cuda13x[ctk]>=13.6,<15', 'nvidia-nccl-cu13'],
        'dev': [
            *data, *eval_, *plot, *mpi,
            'hypothesis',
            'pytest>=7',
            'ruff',
            'setuptools>=70.1,<81',  # chainer.testing imports pkg_resources; our tests build wheels
        ],
    },
)
