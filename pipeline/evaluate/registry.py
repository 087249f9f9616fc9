"""The one registry of measures: what each number is called, means, and which way is better.

The tables, the QC pages and docs/metrics.md all read it. Adding a measure is adding an entry here
and the code that computes it; :class:`pipeline.evaluate.table.Table` refuses unknown names.
Nothing heavy is imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

#: Which way is better: more, less, the closer to zero, or neither (it only describes).
Direction = Literal["higher", "lower", "zero", "none"]
Family = Literal[
    "overlap", "surface", "detection", "similarity", "quality", "registration", "description"
]

FAMILIES: dict[Family, str] = {
    "overlap": "Overlap of labels",
    "surface": "Distance of surfaces",
    "detection": "Detection of lesions one by one",
    "similarity": "Similarity of images to a reference",
    "quality": "Quality of an image without a reference",
    "registration": "Registration",
    "description": "Description and cost",
}


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: as in the column ``metric`` of metrics.tsv.
        title: for people.
        family: which section of the documentation it stands in.
        unit: as in the column ``unit``; empty for a pure number.
        low: smallest possible value.
        high: largest possible value.
        direction: which way is better.
        definition: one sentence.
        paper: where it is defined.
        stages: stages whose rows carry it.
        good: range in which a value is typically good, with its source in the definition; None
            where no such range holds across scanners and contrasts.
    """

    name: str
    title: str
    family: Family
    unit: str
    low: float
    high: float
    direction: Direction
    definition: str
    paper: str
    stages: tuple[str, ...] = ()
    good: tuple[float, float] | None = None


_INF = math.inf
_TAHA = "Taha & Hanbury 2015, BMC Med Imaging 15:29, doi:10.1186/s12880-015-0068-x"
_HEIMANN = "Heimann et al. 2009, IEEE TMI 28(8):1251-1265, doi:10.1109/TMI.2009.2013851"
_HUTTENLOCHER = "Huttenlocher et al. 1993, IEEE TPAMI 15(9):850-863, doi:10.1109/34.232073"
_WANG = "Wang et al. 2004, IEEE TIP 13(4):600-612, doi:10.1109/TIP.2003.819861"
_DUBUISSON = "Dubuisson & Jain 1994, ICPR 566-568, doi:10.1109/ICPR.1994.576361"
_NIKOLOV = "Nikolov et al. 2021, J Med Internet Res 23(7):e26151, doi:10.2196/26151"
_TUSTISON = "Tustison et al. 2010, IEEE TMI 29(6):1310-1320, doi:10.1109/TMI.2010.2046908"
_CARASS = "Carass et al. 2017, NeuroImage 148:77-102, doi:10.1016/j.neuroimage.2016.12.064"
_KUIJF = "Kuijf et al. 2019, IEEE TMI 38(11):2556-2568, doi:10.1109/TMI.2019.2905770"
_MULTISCALE = (
    "Wang, Simoncelli & Bovik 2003, Asilomar Conf Signals Syst Comput 1398-1402,"
    " doi:10.1109/ACSSC.2003.1292216"
)
_XUE = "Xue et al. 2014, IEEE TIP 23(2):684-695, doi:10.1109/TIP.2013.2293423"
_MORTAMET = "Mortamet et al. 2009, Magn Reson Med 62(2):365-372, doi:10.1002/mrm.21992"
_MRIQC = "Esteban et al. 2017, PLoS ONE 12(9):e0184661, doi:10.1371/journal.pone.0184661"
_MAGNOTTA = "Magnotta & Friedman 2006, J Digit Imaging 19:140-147, doi:10.1007/s10278-006-0264-x"
_FITZPATRICK = "Fitzpatrick & West 2001, IEEE TMI 20(9):917-927, doi:10.1109/42.952729"
_LEOW = "Leow et al. 2007, IEEE TMI 26(6):822-832, doi:10.1109/TMI.2007.892646"

_ENTRIES = (
    # overlap of labels
    Measure(
        "dice", "Dice coefficient", "overlap", "", 0, 1, "higher",
        "Twice the shared volume over the sum of both volumes; above 0.7 is called good overlap"
        " (Zijdenbos et al. 1994), small structures score lower at the same boundary error.",
        "Dice 1945, Ecology 26(3):297-302, doi:10.2307/1932409",
        ("preprocess", "register", "segment"), (0.7, 1.0),
    ),
    Measure(
        "f1", "F1 score", "overlap", "", 0, 1, "higher",
        "Harmonic mean of precision and sensitivity; of two masks it is the Dice coefficient, and"
        " stands beside it in the file form only.", _TAHA,
    ),
    Measure(
        "jaccard", "Jaccard index", "overlap", "", 0, 1, "higher",
        "The shared volume over the united volume.",
        "Jaccard 1912, New Phytologist 11(2):37-50, doi:10.1111/j.1469-8137.1912.tb05611.x",
    ),
    Measure(
        "sensitivity", "Sensitivity (recall)", "overlap", "", 0, 1, "higher",
        "Share of the reference's voxels that the prediction has.", _TAHA, ("segment",),
    ),
    Measure(
        "specificity", "Specificity", "overlap", "", 0, 1, "higher",
        "Share of the voxels outside the reference that are outside the prediction too; it rises"
        " with the field of view, so compare it on one grid only.", _TAHA,
    ),
    Measure(
        "precision", "Precision", "overlap", "", 0, 1, "higher",
        "Share of the prediction's voxels that the reference has.", _TAHA, ("segment",),
    ),
    Measure(
        "accuracy", "Accuracy", "overlap", "", 0, 1, "higher",
        "Share of all voxels that are in both or in neither; a small structure scores close to 1"
        " whatever was found, and the value rises with the field of view.", _TAHA,
    ),
    Measure(
        "volume_error", "Volume error", "overlap", "ml", -_INF, _INF, "zero",
        "Volume of the prediction less that of the reference.", _HEIMANN, ("segment",),
    ),
    Measure(
        "volume_error_percent", "Relative volume error", "overlap", "%", -100, _INF, "zero",
        "Volume of the prediction less that of the reference, over that of the reference.",
        _HEIMANN, ("segment",),
    ),
    # distance of surfaces
    Measure(
        "hd", "Hausdorff distance", "surface", "mm", 0, _INF, "lower",
        "The largest distance from a surface voxel of either label to the surface of the other.",
        _HUTTENLOCHER,
    ),
    Measure(
        "hd95", "95th percentile Hausdorff distance", "surface", "mm", 0, _INF, "lower",
        "The larger of the two directed 95th percentiles of the surface distances.",
        _HUTTENLOCHER, ("preprocess", "segment"),
    ),
    Measure(
        "mhd", "Modified Hausdorff distance", "surface", "mm", 0, _INF, "lower",
        "The larger of the two directed mean surface distances.", _DUBUISSON,
    ),
    Measure(
        "asd", "Average symmetric surface distance", "surface", "mm", 0, _INF, "lower",
        "Mean distance of all surface voxels of both labels to the surface of the other.",
        _HEIMANN, ("segment",),
    ),
    Measure(
        "asd_to_reference", "Average surface distance, prediction to reference", "surface", "mm",
        0, _INF, "lower",
        "Mean distance of the prediction's surface voxels to the reference's surface: what was"
        " found in the wrong place raises it.", _HEIMANN,
    ),
    Measure(
        "asd_to_prediction", "Average surface distance, reference to prediction", "surface", "mm",
        0, _INF, "lower",
        "Mean distance of the reference's surface voxels to the prediction's surface: what was"
        " missed raises it.", _HEIMANN,
    ),
    Measure(
        "surface_dice", "Surface Dice at a tolerance", "surface", "", 0, 1, "higher",
        "Share of the surface voxels of both labels that are within `evaluate.surface_tolerance`"
        " (mm) of the other's surface.", _NIKOLOV, ("preprocess", "segment"),
    ),
    # detection of lesions
    Measure(
        "lesion_sensitivity", "Lesion-wise sensitivity", "detection", "", 0, 1, "higher",
        "Share of the reference's lesions that the prediction meets.", _CARASS, ("segment",),
    ),
    Measure(
        "lesion_precision", "Lesion-wise precision", "detection", "", 0, 1, "higher",
        "Share of the prediction's lesions that the reference meets.", _CARASS, ("segment",),
    ),
    Measure(
        "lesion_f1", "Lesion-wise F1", "detection", "", 0, 1, "higher",
        "Harmonic mean of lesion-wise sensitivity and precision.", _KUIJF, ("segment",),
    ),
    Measure(
        "lesions_missed", "Lesions missed", "detection", "", 0, _INF, "lower",
        "Number of the reference's lesions that the prediction does not meet.", _CARASS,
        ("segment",),
    ),
    Measure(
        "lesions_false", "False lesions", "detection", "", 0, _INF, "lower",
        "Number of the prediction's lesions that the reference does not meet; defined for a"
        " subject without lesions too.", _CARASS, ("segment",),
    ),
    # similarity of images
    Measure(
        "psnr", "Peak signal-to-noise ratio", "similarity", "dB", -_INF, _INF, "higher",
        "20 log10 of the reference's range (maximum less minimum in the region) over the root mean"
        " square error in the region, after the linear fit.",
        _WANG, ("denoise", "superres", "synthesize"),
    ),
    Measure(
        "ssim", "Structural similarity", "similarity", "", -1, 1, "higher",
        "Mean over the region of luminance, contrast and structure compared in a 3D Gaussian window"
        " (sigma 1.5 voxels, 11 wide, K1 0.01, K2 0.03), after the linear fit.",
        _WANG, ("denoise", "superres", "synthesize"),
    ),
    Measure(
        "ms_ssim", "Multi-scale structural similarity", "similarity", "", 0, 1, "higher",
        "Structural similarity at five scales, each half as fine as the one before, multiplied with"
        " the exponents 0.0448, 0.2856, 0.3001, 0.2363 and 0.1333, after the linear fit.",
        _MULTISCALE, ("superres", "synthesize"),
    ),
    Measure(
        "gms", "Gradient-magnitude similarity", "similarity", "", 0, 1, "higher",
        "Mean over the region of the similarity of gradient magnitudes (Prewitt's in 3D, constant"
        " 0.0026 of the squared range), after the linear fit: how well edges are kept.",
        _XUE, ("denoise", "superres", "synthesize"),
    ),
    Measure(
        "gmsd", "Gradient-magnitude similarity deviation", "similarity", "", 0, 0.5, "lower",
        "Standard deviation over the region of the similarity of which `gms` is the mean.", _XUE,
    ),
    Measure(
        "nrmse", "Normalised root mean square error", "similarity", "", 0, _INF, "lower",
        "Root mean square error over the reference's range in the region, after the linear fit.",
        "Fienup 1997, Appl Opt 36(32):8352-8357, doi:10.1364/AO.36.008352",
    ),
    Measure(
        "ncc", "Normalised cross-correlation", "similarity", "", -1, 1, "higher",
        "Pearson's correlation of the intensities in the region.",
        "Lewis 1995, Vision Interface 120-123", ("register",),
    ),
    # quality without a reference
    Measure(
        "snr", "Signal-to-noise ratio (white matter)", "quality", "", 0, _INF, "higher",
        "Median over standard deviation in white matter, with the factor sqrt(n / (n - 1)): MRIQC's"
        " snr_wm.", _MAGNOTTA, ("preprocess", "denoise"),
    ),
    Measure(
        "cnr", "Contrast-to-noise ratio", "quality", "", 0, _INF, "higher",
        "Difference of the medians of white and grey matter over the root of the summed variances"
        " of air, white and grey matter.", _MAGNOTTA, ("preprocess", "denoise"),
    ),
    Measure(
        "cjv", "Coefficient of joint variation", "quality", "", 0, _INF, "lower",
        "Sum of the scaled median absolute deviations of white and grey matter over the difference"
        " of their medians; it rises with bias field, motion and noise.",
        "Ganzetti et al. 2016, Front Neuroinform 10:10, doi:10.3389/fninf.2016.00010",
        ("preprocess", "denoise"),
    ),
    Measure(
        "efc", "Entropy focus criterion", "quality", "", 0, 1, "lower",
        "Shannon entropy of the intensities' share in the image's energy, over its maximum; it"
        " rises with ghosting, blur and noise.",
        "Atkinson et al. 1997, IEEE TMI 16(6):903-910, doi:10.1109/42.650886", ("ingest",),
    ),
    Measure(
        "fber", "Foreground-background energy ratio", "quality", "", 0, _INF, "higher",
        "Median energy of the head's voxels over that of the air around it.",
        "Shehzad et al. 2015, Front Neurosci Conf Abstr, doi:10.3389/conf.fnins.2015.91.00047",
        ("ingest",),
    ),
    Measure(
        "qi1", "Artefacts in the air (QI1)", "quality", "", 0, 1, "lower",
        "Share of the air's voxels, away from the head, that are brighter than ten times the"
        " spread of the air and stick together: ghosts and wrap-around.",
        f"{_MORTAMET}; {_MRIQC}", ("ingest",),
    ),
    Measure(
        "qi2", "Misfit of the noise in the air (QI2)", "quality", "", 0, _INF, "lower",
        "Mean difference, in the upper tail, of the density of the air's intensities (scaled to a"
        " 99th percentile of 100) and the chi-square density fitted to it.",
        f"{_MORTAMET}; {_MRIQC}", ("ingest",),
    ),
    Measure(
        "noise_level", "Noise level", "quality", "%", 0, 100, "lower",
        "Standard deviation of the noise in the brain (median absolute deviation of second"
        " differences where the image is smooth, corrected for Rician noise), over the range from"
        " the 0.5th to the 99.5th percentile of the brain's intensities; the same estimate as in"
        " the sidecar of denoise.",
        "Coupe et al. 2010, Med Image Anal 14(4):483-493, doi:10.1016/j.media.2010.03.001;"
        " Koay & Basser 2006, J Magn Reson 179(2):317-322, doi:10.1016/j.jmr.2006.01.016",
        ("preprocess", "denoise"),
    ),
    # registration
    Measure(
        "tre", "Target registration error", "registration", "mm", 0, _INF, "lower",
        "Mean distance, over the template's brain, of the point found for each template voxel from"
        " the true one.", _FITZPATRICK, ("register",),
    ),
    Measure(
        "tre_p95", "Target registration error, 95th percentile", "registration", "mm",
        0, _INF, "lower", "95th percentile of the distances of which `tre` is the mean.",
        _FITZPATRICK, ("register",),
    ),
    Measure(
        "rigid_error", "Rigid alignment error", "registration", "mm", 0, _INF, "lower",
        "Mean distance, over the true brain, between where the estimated and the true rigid"
        " transform put a voxel.", _FITZPATRICK, ("preprocess",),
    ),
    Measure(
        "folding", "Folded voxels", "registration", "%", 0, 100, "lower",
        "Share of the template's brain voxels whose Jacobian determinant is not positive; a"
        " diffeomorphism has none.", _LEOW, ("register",), (0.0, 0.0),
    ),
    Measure(
        "sd_log_jacobian", "Spread of the log Jacobian", "registration", "", 0, _INF, "none",
        "Standard deviation of the natural logarithm of the Jacobian determinant over the brain"
        " voxels where it is positive: how strongly volume changes from place to place.",
        _LEOW, ("register",),
    ),
    Measure(
        "jacobian_min", "Smallest Jacobian determinant", "registration", "", -_INF, _INF, "none",
        "The strongest shrinking of volume over the template's brain; 1 keeps the volume, 0 or"
        " less folds.", _LEOW, ("register",),
    ),
    Measure(
        "jacobian_mean", "Mean Jacobian determinant", "registration", "", -_INF, _INF, "none",
        "Mean of the determinant of the deformation over the template's brain: the change of the"
        " whole volume, without that of the affine part.", _LEOW, ("register",),
    ),
    Measure(
        "jacobian_max", "Largest Jacobian determinant", "registration", "", -_INF, _INF, "none",
        "The strongest growth of volume over the template's brain.", _LEOW, ("register",),
    ),
    Measure(
        "inverse_consistency", "Inverse consistency error", "registration", "mm",
        0, _INF, "lower", "Mean distance of a template point from itself after the transform and"
        " its inverse.",
        "Christensen & Johnson 2001, IEEE TMI 20(7):568-582, doi:10.1109/42.932742", ("register",),
    ),
    # description and cost
    Measure(
        "volume", "Volume", "description", "ml", 0, _INF, "none",
        "Voxels of the label times the volume of one.", _MRIQC, ("preprocess", "segment"),
    ),
    Measure(
        "consistency_rmse", "Consistency with the acquisition", "description", "", 0, _INF, "lower",
        "Root mean square difference between the acquired image and the isotropic one taken back"
        " through the slice profile, in units of the scaled intensity.",
        "Irani & Peleg 1991, CVGIP 53(3):231-239, doi:10.1016/1049-9652(91)90045-L", ("superres",),
    ),
    Measure(
        "bias_p01", "Bias field, 1st percentile", "description", "", 0, _INF, "none",
        "First percentile in the brain of the multiplicative field that preprocess divided by.",
        _TUSTISON, ("preprocess",),
    ),
    Measure(
        "bias_p99", "Bias field, 99th percentile", "description", "", 0, _INF, "none",
        "99th percentile in the brain of the multiplicative field that preprocess divided by.",
        _TUSTISON, ("preprocess",),
    ),
    Measure(
        "seconds", "Run time", "description", "s", 0, _INF, "lower",
        "Wall-clock time of the stage for this session, without the start of the process.", "",
        ("ingest", "preprocess", "denoise", "superres", "register", "synthesize", "segment"),
    ),
)  # fmt: skip

MEASURES: dict[str, Measure] = {entry.name: entry for entry in _ENTRIES}


def measure(name: str) -> Measure:
    """The entry of one measure; an unknown name is a fault of the caller (KeyError)."""
    if name not in MEASURES:
        raise KeyError(f"the registry of measures has no {name!r}")
    return MEASURES[name]


def of_family(family: Family) -> list[Measure]:
    """The measures of one family in the order of the registry."""
    return [entry for entry in MEASURES.values() if entry.family == family]


def improved(name: str, value: float, baseline: float) -> bool | None:
    """Whether ``value`` is better than ``baseline``; None where no way is better, or they tie."""
    direction = measure(name).direction
    if direction == "zero":
        value, baseline, direction = abs(value), abs(baseline), "lower"
    if direction == "none" or value == baseline:
        return None
    return value > baseline if direction == "higher" else value < baseline
