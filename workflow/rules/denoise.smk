rule denoise:
    input:
        JOBS.after("denoise", "preprocess"),
    output:
        target("denoise"),
    log:
        RESULTS.log("denoise", JOBS.name("denoise")),
    benchmark:
        RESULTS.benchmark("denoise", JOBS.name("denoise"))
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=memory("denoise"),
        runtime=runtime("denoise"),
    params:
        results=RESULTS.root,
        config=slice_of("denoise"),
        code=code_of("denoise"),
        units=names_of_units("denoise"),
        decision=decision_on("denoise"),
    shell:
        "voxelway denoise --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_DENOISE" --keep-going > {log} 2>&1'
