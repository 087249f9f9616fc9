rule train_synthesize:
    input:
        training_images("superres", "train"),
    output:
        trained("synthesize") / "metadata.json",
    log:
        RESULTS.log("train_synthesize"),
    benchmark:
        RESULTS.benchmark("train_synthesize")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        *packages_of_modules("pipeline.synthesize.train"),
        bundle=trained("synthesize"),
        results=RESULTS.root,
        config=slice_of("synthesize", "training"),
        code=code_of_modules("pipeline.synthesize.train"),
    shell:
        "voxelway train synthesize --results {params.results:q} --out {params.bundle:q}"
        ' --params "$VOXELWAY_TRAIN_SYNTHESIZE" > {log} 2>&1'


rule synthesize:
    input:
        JOBS.after("synthesize", "superres"),
        bundle("synthesize"),
    output:
        target("synthesize"),
    log:
        RESULTS.log("synthesize", JOBS.name("synthesize")),
    benchmark:
        RESULTS.benchmark("synthesize", JOBS.name("synthesize"))
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("synthesize"),
        runtime=runtime("synthesize"),
        gpu=gpus("synthesize"),
    params:
        *packages_of("synthesize"),
        results=RESULTS.root,
        config=slice_of("synthesize"),
        code=code_of("synthesize"),
        units=names_of_units("synthesize"),
        decision=decision_on("synthesize"),
        model=model_of("synthesize"),
    shell:
        "voxelway synthesize --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_SYNTHESIZE" ${{VOXELWAY_MODEL_SYNTHESIZE:+--model "$VOXELWAY_MODEL_SYNTHESIZE"}}'
        " --keep-going > {log} 2>&1"
