from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/denoise.smk"
include: "workflow/rules/superres.smk"
include: "workflow/rules/register.smk"
include: "workflow/rules/synthesize.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        RESULTS.cohort_page,
        RESULTS.metrics,
        RESULTS.status_table,
        RESULTS.complete,
