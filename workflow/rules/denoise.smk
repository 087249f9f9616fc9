rule train_denoise:
    input:
        training_images("preprocess", "train", "val"),
    output:
        # checkpoints stand beside the bundle, undeclared: a retry goes on from them
        trained("denoise") / "metadata.json",
    log:
        RESULTS.log("train_denoise"),
    benchmark:
        RESULTS.benchmark("train_denoise")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=24 * 60,
        gpu=1,
    params:
        *packages_of_modules("pipeline.denoise.train"),
        bundle=trained("denoise"),
        results=RESULTS.root,
        config=slice_of("denoise", "training"),
        code=lambda wildcards: code_of_modules("pipeline.denoise.train"),
    shell:
        "voxelway train denoise --results {params.results:q} --out {params.bundle:q}"
        ' --params "$VOXELWAY_TRAIN_DENOISE" > {log} 2>&1'


rule denoise:
    input:
        JOBS.after("denoise", "preprocess"),
        bundle("denoise"),
    output:
        target("denoise"),
    log:
        RESULTS.log("denoise", JOBS.name("denoise")),
    benchmark:
        RESULTS.benchmark("denoise", JOBS.name("denoise"))
    group:
        JOBS.group("denoise")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("denoise"),
        runtime=runtime("denoise"),
        gpu=gpus("denoise"),
    params:
        *packages_of("denoise"),
        results=RESULTS.root,
        config=slice_of("denoise"),
        code=code_of("denoise"),
        units=names_of_units("denoise"),
        decision=decision_on("denoise"),
        model=model_of("denoise"),
    shell:
        "voxelway denoise --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_DENOISE" ${{VOXELWAY_MODEL_DENOISE:+--model "$VOXELWAY_MODEL_DENOISE"}}'
        " --keep-going > {log} 2>&1"
