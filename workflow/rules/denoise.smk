rule denoise:
    input:
        RESULTS.status("preprocess", UNIT),
    output:
        RESULTS.status("denoise", UNIT),
    log:
        RESULTS.log("denoise", UNIT),
    benchmark:
        RESULTS.benchmark("denoise", UNIT)
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=memory("denoise"),
        runtime=runtime("denoise"),
    params:
        results=RESULTS.root,
        config=slice_of("denoise"),
        code=code_of("denoise"),
        decision=decision_on("denoise"),
    shell:
        "voxelway denoise --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_DENOISE" --keep-going > {log} 2>&1'
