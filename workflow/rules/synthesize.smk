rule train_synthesize:
    input:
        training_statuses("train"),
    output:
        trained("synthesize") / "metadata.json",
    log:
        RESULTS.log("train_synthesize"),
    benchmark:
        RESULTS.benchmark("train_synthesize")
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        bundle=trained("synthesize"),
        results=RESULTS.root,
        config=slice_of("synthesize", "training"),
        code=settings.code_of_modules("pipeline.synthesize.train"),
    shell:
        "voxelway train synthesize --results {params.results:q} --out {params.bundle:q}"
        ' --params "$VOXELWAY_TRAIN_SYNTHESIZE" > {log} 2>&1'


rule synthesize:
    input:
        RESULTS.status("superres", UNIT),
        bundle("synthesize"),
    output:
        RESULTS.status("synthesize", UNIT),
    log:
        RESULTS.log("synthesize", UNIT),
    benchmark:
        RESULTS.benchmark("synthesize", UNIT)
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=memory("synthesize"),
        runtime=runtime("synthesize"),
    params:
        results=RESULTS.root,
        config=slice_of("synthesize"),
        code=code_of("synthesize"),
        decision=decision_on("synthesize"),
        model=MODELS["synthesize"].digest,
    shell:
        "voxelway synthesize --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_SYNTHESIZE" ${{VOXELWAY_MODEL_SYNTHESIZE:+--model "$VOXELWAY_MODEL_SYNTHESIZE"}}'
        " --keep-going > {log} 2>&1"
