rule evaluate:
    input:
        JOBS.after(
            "evaluate",
            "preprocess",
            "denoise",
            "superres",
            "register",
            "synthesize",
            "segment",
        ),
    output:
        RESULTS.status("evaluate", UNIT),
    log:
        RESULTS.log("evaluate", UNIT),
    benchmark:
        RESULTS.benchmark("evaluate", UNIT)
    group:
        JOBS.group("evaluate")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("evaluate"),
        runtime=runtime("evaluate"),
    params:
        *packages_of("evaluate"),
        results=RESULTS.root,
        config=slice_of("evaluate"),
        code=code_of("evaluate"),
        decision=decision_on("evaluate"),
    shell:
        "voxelway evaluate --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_EVALUATE" --keep-going > {log} 2>&1'
