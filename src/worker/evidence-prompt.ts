import { MachineError, messageOf } from '../errors.ts'
import type { Clock, ComfyUI, OutputFile } from '../host/ports.ts'
import type { Gap } from './gap.ts'
import { summarizeRefusal } from './job.ts'
import { endOfHistory } from './prompt-state.ts'

/** Folder of the output directory in which the picture of the evidence stands until it is seen. */
export const EVIDENCE_FOLDER = 'comfy-machine-evidence'

const SIDE = 64
const MOST_BYTES = 1_000_000
const FIRST_PAUSE_MS = 4
const LAST_PAUSE_MS = 250
const SIGN_EVERY_MS = 1000
/** CPU time that counts as a sign of life, ms. */
const SIGN_CPU_MS = 50
const SILENT_MS = 60_000
/** A prompt that runs and uses time, and does not end, is given up after this many times the limit. */
const BUSY_FACTOR = 4

/** What the prompt of the evidence needs. */
export interface PromptEvidencePorts {
  readonly comfyui: Pick<ComfyUI, 'submit' | 'history' | 'queue' | 'view' | 'interrupt' | 'dequeue' | 'forget'>
  readonly clock: Clock
  /** CPU time that ComfyUI's process has used, ms; undefined when it is not known. */
  readonly cpuMs: () => Promise<number | undefined>
  /** Whether ComfyUI's process is still there. */
  readonly isAlive: () => Promise<boolean>
  /** Called about once a second while the prompt runs. */
  readonly onWaiting: () => void
  readonly stop: AbortSignal
}

/**
 * Has ComfyUI make a picture, save it and show it. The gap tells what ComfyUI says of a prompt that did not end well, or
 * that it neither ended nor used CPU time for a minute; undefined when the picture was seen, or `stop` aborted.
 */
export async function tryPrompt(ports: PromptEvidencePorts): Promise<Gap | undefined> {
  const { comfyui, clock } = ports
  // ComfyUI does not run again what it has run: the colour tells one start from another.
  const color = Math.floor(clock.nowUs() / 1000) & 0xffffff
  try {
    const answer = await comfyui.submit(promptOf(color), EVIDENCE_FOLDER, undefined, { front: true })
    if (answer.kind === 'refused') return gap(summarizeRefusal(answer.status, answer.body))
    const entry = await awaitEntry(ports, answer.promptId)
    if (entry === undefined) return undefined
    const end = endOfHistory(entry)
    if (end.kind === 'error') return gap(end.message)
    if (end.kind === 'interrupted') return gap('the prompt was interrupted')
    const problem = await look(comfyui, entry)
    await comfyui.forget(answer.promptId)
    return problem === undefined ? undefined : gap(problem)
  } catch (error) {
    if (ports.stop.aborted) return undefined
    return gap(messageOf(error))
  }
}

function promptOf(color: number): unknown {
  const size = { width: SIDE, height: SIDE, batch_size: 1 }
  return {
    1: { class_type: 'EmptyImage', inputs: { ...size, color } },
    2: { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: `${EVIDENCE_FOLDER}/picture` } },
  }
}

async function awaitEntry(ports: PromptEvidencePorts, promptId: string): Promise<unknown> {
  const { comfyui, clock, stop } = ports
  let lifeUs = clock.nowUs()
  let runsSinceUs = lifeUs
  let lookedUs = lifeUs
  let usedMs = await ports.cpuMs()
  let pauseMs = FIRST_PAUSE_MS
  let trouble = ''
  for (;;) {
    const looked = await comfyui.history(promptId).then((entry) => ({ entry }), messageOf)
    if (typeof looked !== 'string' && looked.entry !== undefined) return looked.entry
    // A ComfyUI that works may be late with an answer; one that is gone will give none.
    if (typeof looked === 'string' && !(await ports.isAlive())) throw new Error(looked)
    trouble = typeof looked === 'string' ? `: ${looked}` : ''
    await clock.sleep(pauseMs, stop)
    if (stop.aborted) return undefined
    pauseMs = Math.min(pauseMs * 1.5, LAST_PAUSE_MS)
    if (clock.nowUs() - lookedUs < SIGN_EVERY_MS * 1000) continue
    lookedUs = clock.nowUs()
    ports.onWaiting()
    const nowMs = await ports.cpuMs()
    if (nowMs !== undefined && nowMs - (usedMs ?? 0) >= SIGN_CPU_MS) {
      usedMs = nowMs
      lifeUs = lookedUs
    }
    // A worker that was not stopped may have sent a job first, which takes the time it takes.
    const waits = await comfyui.queue().then(
      ({ pending }) => pending.includes(promptId),
      () => false,
    )
    if (waits) runsSinceUs = lookedUs
    const silentMs = (lookedUs - lifeUs) / 1000
    const runsMs = (lookedUs - runsSinceUs) / 1000
    if (silentMs < SILENT_MS && runsMs < SILENT_MS * BUSY_FACTOR) continue
    await Promise.allSettled([comfyui.dequeue(promptId), comfyui.interrupt(promptId)])
    throw new Error(`the prompt did not end in ${Math.round(Math.max(silentMs, runsMs) / 1000)} s${trouble}`)
  }
}

/** What is wrong with the picture that a prompt says it has saved; undefined when nothing is. */
async function look(comfyui: Pick<ComfyUI, 'view'>, entry: unknown): Promise<string | undefined> {
  const file = savedFile(entry)
  if (file === undefined) return 'the prompt ended well and names no picture'
  const { data } = await comfyui.view(file, MOST_BYTES)
  // PNG, section 11.2.2: width and height follow the signature and the head of the first chunk.
  const bytes = data === undefined ? undefined : new DataView(data.buffer, data.byteOffset, data.byteLength)
  const isWhole = bytes !== undefined && bytes.byteLength > 24 && bytes.getUint32(0) === 0x89504e47
  const isRight = isWhole && bytes.getUint32(16) === SIDE && bytes.getUint32(20) === SIDE
  return isRight ? undefined : `${file.filename} is not the picture that the prompt was to save`
}

function savedFile(entry: unknown): OutputFile | undefined {
  const { outputs } = entry as { readonly outputs?: Readonly<Record<string, { readonly images?: unknown }>> }
  const images = Object.values(outputs ?? {}).flatMap(({ images: all }) => (Array.isArray(all) ? all : []))
  const [image] = images as readonly Partial<OutputFile>[]
  if (typeof image?.filename !== 'string') return undefined
  return { filename: image.filename, subfolder: image.subfolder ?? '', type: image.type ?? 'output' }
}

function gap(message: string): Gap {
  return { component: 'prompt', error: new MachineError('CM1904', `EmptyImage to SaveImage: ${message}`) }
}
