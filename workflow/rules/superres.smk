rule superres:
    input:
        JOBS.after("superres", "denoise"),
    output:
        target("superres"),
    log:
        RESULTS.log("superres", JOBS.name("superres")),
    benchmark:
        RESULTS.benchmark("superres", JOBS.name("superres"))
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=memory("superres"),
        runtime=runtime("superres"),
    params:
        results=RESULTS.root,
        config=slice_of("superres"),
        code=code_of("superres"),
        units=names_of_units("superres"),
        decision=decision_on("superres"),
    shell:
        "voxelway superres --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_SUPERRES" --keep-going > {log} 2>&1'
