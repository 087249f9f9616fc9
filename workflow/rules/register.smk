rule template:
    output:
        TEMPLATE / "description.json",
    log:
        RESULTS.log("template"),
    benchmark:
        RESULTS.benchmark("template")
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=10,
    params:
        config=slice_of("register"),
        code=settings.code_of_modules("pipeline.register.template"),
        folder=TEMPLATE,
    shell:
        'voxelway template {params.folder:q} --params "$VOXELWAY_REGISTER" > {log} 2>&1'


rule register:
    input:
        RESULTS.status("superres", UNIT),
        TEMPLATE / "description.json",
    output:
        RESULTS.status("register", UNIT),
    log:
        RESULTS.log("register", UNIT),
    benchmark:
        RESULTS.benchmark("register", UNIT)
    conda:
        "../../envs/voxelway.yaml"
    resources:
        mem_mb=memory("register"),
        runtime=runtime("register"),
    params:
        results=RESULTS.root,
        config=slice_of("register"),
        code=code_of("register"),
    shell:
        "voxelway register --results {params.results:q} --unit sub-{wildcards.subject}_ses-{wildcards.session}"
        ' --params "$VOXELWAY_REGISTER" --keep-going > {log} 2>&1'
