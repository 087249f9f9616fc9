rule export:
    input:
        JOBS.after("export", "segment"),
    output:
        RESULTS.status("export", UNIT),
    log:
        RESULTS.log("export", UNIT),
    benchmark:
        RESULTS.benchmark("export", UNIT)
    group:
        JOBS.group("export")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("export"),
        runtime=runtime("export"),
    params:
        *packages_of("export"),
        results=RESULTS.root,
        config=slice_of("export"),
        code=code_of("export"),
        decision=decision_on("export"),
    shell:
        "voxelway export-seg --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_EXPORT" --keep-going > {log} 2>&1'
