rule train_superres:
    input:
        training_images("denoise", "train", "val"),
    output:
        # checkpoints stand beside the bundle, undeclared: a retry goes on from them
        trained("superres") / "metadata.json",
    log:
        RESULTS.log("train_superres"),
    benchmark:
        RESULTS.benchmark("train_superres")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=24 * 60,
        gpu=1,
    params:
        *packages_of_modules("pipeline.superres.train"),
        bundle=trained("superres"),
        results=RESULTS.root,
        config=slice_of("superres", "training"),
        code=lambda wildcards: code_of_modules("pipeline.superres.train"),
    shell:
        "voxelway train superres --results {params.results:q} --out {params.bundle:q}"
        ' --params "$VOXELWAY_TRAIN_SUPERRES" > {log} 2>&1'


rule superres:
    input:
        JOBS.after("superres", "denoise"),
        bundle("superres"),
    output:
        target("superres"),
    log:
        RESULTS.log("superres", JOBS.name("superres")),
    benchmark:
        RESULTS.benchmark("superres", JOBS.name("superres"))
    group:
        JOBS.group("superres")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("superres"),
        runtime=runtime("superres"),
        gpu=gpus("superres"),
    params:
        *packages_of("superres"),
        results=RESULTS.root,
        config=slice_of("superres"),
        code=code_of("superres"),
        units=names_of_units("superres"),
        decision=decision_on("superres"),
        model=model_of("superres"),
    shell:
        "voxelway superres --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_SUPERRES" ${{VOXELWAY_MODEL_SUPERRES:+--model "$VOXELWAY_MODEL_SUPERRES"}}'
        " --keep-going > {log} 2>&1"
