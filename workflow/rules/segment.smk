rule segment:
    input:
        RESULTS.status("superres", UNIT),
        RESULTS.status("register", UNIT),
        RESULTS.status("synthesize", UNIT),
    output:
        RESULTS.status("segment", UNIT),
    log:
        RESULTS.log("segment", UNIT),
    benchmark:
        RESULTS.benchmark("segment", UNIT)
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=memory("segment"),
        runtime=runtime("segment"),
    params:
        results=RESULTS.root,
        config=slice_of("segment"),
        code=code_of("segment"),
        decision=decision_on("segment"),
    shell:
        "voxelway segment --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_SEGMENT" --keep-going > {log} 2>&1'
