import type { OutputFile, ViewedFile } from '../host/ports.ts'

/** A file that a node of the prompt made. `kind` is ComfyUI's: `images`, `gifs`, `audio`, `video`, … */
export interface OutputRef extends OutputFile {
  readonly nodeId: string
  readonly kind: string
}

/** A file in a job's return value. `data_base64` is absent when it did not fit beside the others. */
export interface JobOutput {
  readonly node_id: string
  readonly kind: string
  readonly filename: string
  readonly subfolder: string
  readonly type: string
  readonly content_type: string
  readonly bytes: number
  readonly data_base64?: string
}

/** A job's return value. */
export interface JobResult {
  readonly prompt_id: string
  /** The trace of the job: its producer's, or one of its own. */
  readonly trace_id: string
  readonly duration_ms: number
  readonly outputs: readonly JobOutput[]
}

/** Most bytes of files that travel within a return value. */
const INLINE_BYTES = 8 * 1024 * 1024

/** Every file of a history entry: any list of objects with a `filename`, kept files before temporary ones. */
export function listOutputs(entry: unknown): readonly OutputRef[] {
  const nodes = record(record(entry)['outputs'])
  const refs = Object.entries(nodes).flatMap(([nodeId, kinds]) =>
    Object.entries(record(kinds)).flatMap(([kind, files]) => toRefs(nodeId, kind, files)),
  )
  return refs.toSorted((a, b) => Number(a.type === 'temp') - Number(b.type === 'temp'))
}

/** Reads the files back, inlining them as long as all of them together stay within `inlineBytes`. */
export async function collectOutputs(
  view: (file: OutputFile, maxBytes: number) => Promise<ViewedFile>,
  refs: readonly OutputRef[],
  inlineBytes: number = INLINE_BYTES,
): Promise<readonly JobOutput[]> {
  const outputs: JobOutput[] = []
  let left = inlineBytes
  for (const ref of refs) {
    const { filename, subfolder, type } = ref
    const file = await view({ filename, subfolder, type }, left)
    left -= file.data?.length ?? 0
    outputs.push({
      node_id: ref.nodeId,
      kind: ref.kind,
      filename,
      subfolder,
      type,
      content_type: file.contentType,
      bytes: file.bytes,
      ...(file.data === undefined ? {} : { data_base64: base64(file.data) }),
    })
  }
  return outputs
}

function toRefs(nodeId: string, kind: string, files: unknown): OutputRef[] {
  if (!Array.isArray(files)) return []
  return files.flatMap((item: unknown) => {
    const { filename, subfolder, type } = record(item)
    if (typeof filename !== 'string') return []
    return [
      {
        nodeId,
        kind,
        filename,
        subfolder: typeof subfolder === 'string' ? subfolder : '',
        type: typeof type === 'string' ? type : 'output',
      },
    ]
  })
}

function base64(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}
