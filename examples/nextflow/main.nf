// Modules of diffchrom, in the manner of nf-core's: prepare a store, train on a pair, predict.
// nextflow run examples/nextflow/main.nf --gtf genes.gtf --bigwigs results/ --expression counts.tsv --pairs E116,E123

process DIFFCHROM_PREPARE {
    label 'process_medium'

    input:
    path gtf
    path tracks, stageAs: 'tracks/*'
    path expression

    output:
    path 'store.h5'        , emit: store
    path 'tracks_mqc.tsv'  , emit: multiqc
    path 'versions.yml'    , emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    diffchrom prepare --store store.h5 --gtf ${gtf} --bigwigs tracks/* --expression ${expression} \\
        --multiqc tracks_mqc.tsv --threads ${task.cpus} ${args}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        diffchrom: \$(diffchrom --version | sed 's/diffchrom //')
    END_VERSIONS
    """
}

process DIFFCHROM_TRAIN {
    tag "${pair}"
    label 'process_high'

    input:
    path store
    val pair // A,B

    output:
    tuple val(pair), path("${prefix}")          , emit: run
    tuple val(pair), path("${prefix}.json")     , emit: accuracy
    path "${prefix}_mqc.tsv"                    , emit: multiqc

    script:
    def args = task.ext.args ?: ''
    prefix = pair.replace(',', '-')
    """
    diffchrom train --store ${store} --pair ${pair} --out ${prefix} --json --multiqc ${prefix}_mqc.tsv \\
        --threads ${task.cpus} ${args} > ${prefix}.json
    """
}

process DIFFCHROM_PREDICT {
    tag "${pair}"

    input:
    path store
    tuple val(pair), path(run)

    output:
    tuple val(pair), path("${run}.tsv.gz"), emit: predictions

    script:
    def args = task.ext.args ?: ''
    """
    diffchrom predict ${run} --store ${store} -o ${run}.tsv.gz --threads ${task.cpus} ${args}
    """
}

workflow {
    DIFFCHROM_PREPARE(
        file(params.gtf, checkIfExists: true),
        files(params.bigwigs, checkIfExists: true),
        file(params.expression, checkIfExists: true),
    )
    store = DIFFCHROM_PREPARE.out.store.first()
    DIFFCHROM_TRAIN(store, channel.fromList(params.pairs.tokenize(';')))
    DIFFCHROM_PREDICT(store, DIFFCHROM_TRAIN.out.run)
}
