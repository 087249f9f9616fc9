rule preprocess:
    input:
        JOBS.after("preprocess", "ingest"),
    output:
        RESULTS.status("preprocess", UNIT),
    log:
        RESULTS.log("preprocess", UNIT),
    benchmark:
        RESULTS.benchmark("preprocess", UNIT)
    group:
        JOBS.group("preprocess")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("preprocess"),
        runtime=runtime("preprocess"),
    params:
        *packages_of("preprocess"),
        results=RESULTS.root,
        config=slice_of("preprocess"),
        code=code_of("preprocess"),
        decision=decision_on("preprocess"),
    shell:
        "voxelway preprocess --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_PREPROCESS" --keep-going > {log} 2>&1'
