"""What is wrong with a data set before a training, and with a detector after it."""

from chainer_ssd.inspection.class_checks import ClassCount
from chainer_ssd.inspection.coverage import Coverage, measure_coverage
from chainer_ssd.inspection.detector_page import write_detector_html
from chainer_ssd.inspection.detector_report import (
    DetectedImages,
    DetectorReport,
    detect_images_of,
    inspect_detector,
)
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
    'DetectedImages',
    'DetectorReport',
    'Finding',
    'Kind',
    'Report',
    'detect_images_of',
    'inspect_datasets',
    'inspect_detector',
    'inspect_voc',
    'measure_coverage',
    'write_detector_html',
    'write_html',
]
