rule segment:
    input:
        JOBS.after("segment", "superres", "register", "synthesize"),
    output:
        target("segment"),
    log:
        RESULTS.log("segment", JOBS.name("segment")),
    benchmark:
        RESULTS.benchmark("segment", JOBS.name("segment"))
    group:
        JOBS.group("segment")
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=memory("segment"),
        runtime=runtime("segment"),
        gpu=gpus("segment"),
    params:
        results=RESULTS.root,
        config=slice_of("segment"),
        code=code_of("segment"),
        units=names_of_units("segment"),
        decision=decision_on("segment"),
    shell:
        "voxelway segment --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_SEGMENT" --keep-going > {log} 2>&1'
