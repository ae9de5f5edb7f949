"""The data set doctor: what is wrong with a data set before a training."""

from chainer_ssd.inspection.class_checks import ClassCount
from chainer_ssd.inspection.coverage import Coverage, measure_coverage
from chainer_ssd.inspection.finding import Finding
from chainer_ssd.inspection.html_page import write_html
from chainer_ssd.inspection.inspect_datasets import inspect_datasets
from chainer_ssd.inspection.inspect_voc import inspect_voc
from chainer_ssd.inspection.kinds import KINDS, Kind
from chainer_ssd.inspection.report import Report

__all__ = [
    'KINDS',
    'ClassCount',
    'Coverage',
    'Finding',
    'Kind',
    'Report',
    'inspect_datasets',
    'inspect_voc',
    'measure_coverage',
    'write_html',
]
