rule template:
    output:
        TEMPLATE / "description.json",
    log:
        RESULTS.log("template"),
    benchmark:
        RESULTS.benchmark("template")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=10,
    params:
        *packages_of_modules("pipeline.register.template"),
        config=[SETTINGS["register"][key] for key in ("template", "template_spacing")],
        code=code_of_modules("pipeline.register.template"),
        folder=TEMPLATE,
    shell:
        'voxelway template {params.folder:q} --params "$VOXELWAY_REGISTER" > {log} 2>&1'


rule train_register:
    input:
        training_images("superres", "train", "val"),
        TEMPLATE / "description.json",
    output:
        # checkpoints stand beside the bundle, undeclared: a retry goes on from them
        trained("register") / "metadata.json",
    log:
        RESULTS.log("train_register"),
    benchmark:
        RESULTS.benchmark("train_register")
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=24 * 60,
        gpu=1,
    params:
        *packages_of_modules("pipeline.register.train"),
        bundle=trained("register"),
        results=RESULTS.root,
        config=slice_of("register", "training"),
        code=lambda wildcards: code_of_modules("pipeline.register.train"),
    shell:
        "voxelway train register --results {params.results:q} --out {params.bundle:q}"
        ' --params "$VOXELWAY_TRAIN_REGISTER" > {log} 2>&1'


rule register:
    input:
        JOBS.after("register", "superres"),
        TEMPLATE / "description.json",
        bundle("register"),
    output:
        target("register"),
    log:
        RESULTS.log("register", JOBS.name("register")),
    benchmark:
        RESULTS.benchmark("register", JOBS.name("register"))
    conda:
        "../../envs/voxelway.yaml"
    envmodules:
        "voxelway",
    resources:
        mem_mb=memory("register"),
        runtime=runtime("register"),
        gpu=gpus("register"),
    params:
        *packages_of("register"),
        results=RESULTS.root,
        config=slice_of("register"),
        code=code_of("register"),
        units=names_of_units("register"),
        decision=decision_on("register"),
        model=model_of("register"),
    shell:
        "voxelway register --results {params.results:q} --unit {params.units}"
        ' --params "$VOXELWAY_REGISTER" ${{VOXELWAY_MODEL_REGISTER:+--model "$VOXELWAY_MODEL_REGISTER"}}'
        " --keep-going > {log} 2>&1"
