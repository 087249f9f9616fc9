rule train_segment:
    input:
        training_images("superres", "train", "val"),
    output:
        # checkpoints stand beside the bundle, undeclared: a retry goes on from them
        trained("segment") / "metadata.json",
    log:
        RESULTS.log("train_segment"),
    benchmark:
        RESULTS.benchmark("train_segment")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=24 * 60,
        gpu=1,
    params:
        *packages_of_modules("pipeline.segment.train"),
        bundle=trained("segment"),
        results=RESULTS.root,
        config=slice_of("segment", "training"),
        code=lambda wildcards: code_of_modules("pipeline.segment.train"),
    shell:
        "voxelway train segment --results {params.results:q} --out {params.bundle:q}"
        ' --params "$VOXELWAY_TRAIN_SEGMENT" > {log} 2>&1'


rule segment:
    input:
        JOBS.after("segment", "superres", "register", "synthesize"),
        bundle("segment"),
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
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("segment"),
        runtime=runtime("segment"),
        gpu=gpus("segment"),
    params:
        *packages_of("segment"),
        results=RESULTS.root,
        config=slice_of("segment"),
        code=code_of("segment"),
        units=names_of_units("segment"),
        decision=decision_on("segment"),
        model=model_of("segment"),
    shell:
        "voxelway segment --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_SEGMENT" ${{VOXELWAY_MODEL_SEGMENT:+--model "$VOXELWAY_MODEL_SEGMENT"}}'
        " --keep-going > {log} 2>&1"
