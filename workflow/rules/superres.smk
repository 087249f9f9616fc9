rule superres:
    input:
        RESULTS.status("denoise", UNIT),
    output:
        RESULTS.status("superres", UNIT),
    log:
        RESULTS.log("superres", UNIT),
    benchmark:
        RESULTS.benchmark("superres", UNIT)
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=memory("superres"),
        runtime=runtime("superres"),
    params:
        results=RESULTS.root,
        config=slice_of("superres"),
        code=code_of("superres"),
        decision=decision_on("superres"),
    shell:
        "voxelway superres --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_SUPERRES" --keep-going > {log} 2>&1'
