checkpoint index:
    input:
        arrivals.ledger(RESULTS),
    output:
        # the manifest stands while the index runs: splits and shards are read from it
        manifest=update(RESULTS.manifest),
        quarantine=RESULTS.quarantine,
        participants=RESULTS.participants,
    log:
        RESULTS.log("index"),
    benchmark:
        RESULTS.benchmark("index")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    params:
        *packages_of_modules("pipeline.ingest.index"),
        results=RESULTS.root,
        config=slice_of("ingest"),
        dicom=SETTINGS["dicom"],
        code=code_of_modules("pipeline.ingest.index"),
    shell:
        'voxelway index {params.dicom:q} {params.results:q} --params "$VOXELWAY_INGEST" > {log} 2>&1'


rule ingest:
    input:
        RESULTS.unit_source(UNIT),
    output:
        RESULTS.status("ingest", UNIT),
    log:
        RESULTS.log("ingest", UNIT),
    benchmark:
        RESULTS.benchmark("ingest", UNIT)
    group:
        JOBS.group("ingest")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("ingest"),
        runtime=runtime("ingest"),
    params:
        *packages_of("ingest"),
        results=RESULTS.root,
        config=slice_of("ingest"),
        code=code_of("ingest"),
        decision=decision_on("ingest"),
    shell:
        "voxelway ingest --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_INGEST" --keep-going > {log} 2>&1'
