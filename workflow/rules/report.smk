rule report:
    input:
        JOBS.after("report", "evaluate", "export"),
    output:
        RESULTS.status("report", UNIT),
    log:
        RESULTS.log("report", UNIT),
    benchmark:
        RESULTS.benchmark("report", UNIT)
    group:
        JOBS.group("report")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("report"),
        runtime=runtime("report"),
    params:
        *packages_of("report"),
        results=RESULTS.root,
        config=slice_of("report"),
        code=code_of("report"),
        decision=decision_on("report"),
    shell:
        "voxelway report {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_COHORT" --keep-going > {log} 2>&1'


rule cohort:
    input:
        RESULTS.manifest,
        RESULTS.quarantine,
        every("report"),
    output:
        page=report(
            RESULTS.cohort_page,
            caption="../report/cohort.rst",
            category="Cohort",
        ),
        table=RESULTS.status_table,
        # taken away when jobs failed, so that the next run makes what is missing
        complete=touch(RESULTS.complete),
        metrics=report(
            RESULTS.metrics,
            caption="../report/metrics.rst",
            category="Cohort",
        ),
    log:
        RESULTS.log("cohort"),
    benchmark:
        RESULTS.benchmark("cohort")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    params:
        results=RESULTS.root,
        config=slice_of("report", "cohort"),
        code=code_of_modules("pipeline.report.pages"),
    shell:
        'voxelway report {params.results:q} --cohort --params "$VOXELWAY_COHORT" > {log} 2>&1'
