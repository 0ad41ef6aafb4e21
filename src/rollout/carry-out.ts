import { type Action, execute } from '../apply/actions.ts'
import { hostExecutors } from '../apply/executors.ts'
import { rolloutSpans } from '../emit/rollout-spans.ts'
import { messageOf } from '../errors.ts'
import type { RolloutState } from '../observe/state.ts'
import { placesOf, pointerOf, pointerTo } from '../plan/places.ts'
import { renderRollout } from '../plan/rollout-record.ts'
import { unitsOfGpu } from './gpu-standing.ts'
import { beginLine, endWarning, recordLine, rolloutLine } from './journal-lines.ts'
import { type RolloutContext, show, showRollout } from './look.ts'
import { courseOf, type RolloutFacts, type RolloutStep } from './plan-rollout.ts'

type EndStep = Extract<RolloutStep, { kind: 'forget-next' }>

const COLLECT = 'comfy-collect.service'
// What happened to the canary is awaited, but the others do not wait for its last words.
const LINES_MS = 2_000
const TICK_MS = 1_000

/** Carries out one step of a rollout and tells it. Rejects when it could not be carried out, or the controller is to stop. */
export async function carryOut(context: RolloutContext, facts: RolloutFacts, step: RolloutStep): Promise<void> {
  if (step.kind === 'idle') return showRollout(context.recorder, null)
  if (step.kind === 'forget-next') return end(context, facts, step)
  const shown = context.recorder.machine.state.generations?.rollout?.gpu ?? null
  await open(context, facts, 'gpu' in step ? step.gpu : shown)
  if (step.kind === 'wait') return untilChange(context, TICK_MS)
  if (step.kind === 'record') return record(context, facts, step)
  if (step.kind === 'start') await sign(context)
  for (const action of actionsOf(context, step)) await act(context, action)
  // What the units are now decides over the next step.
  if (step.kind === 'start' || step.kind === 'stop') await context.follower.resync()
}

// Resolves at the next change of the machine, at the latest after `ms`; rejects when the controller is to stop.
async function untilChange({ host, recorder }: RolloutContext, ms: number): Promise<void> {
  const changed = new AbortController()
  const stop = recorder.onChange(() => changed.abort())
  try {
    await host.clock.sleep(ms, AbortSignal.any([host.signal, changed.signal]))
  } finally {
    stop()
  }
  if (host.signal.aborted) throw new Error('stopped')
}

function actionsOf(
  { plan }: RolloutContext,
  step: Extract<RolloutStep, { kind: 'stop' | 'point' | 'start' | 'make-current' }>,
): readonly Action[] {
  const { workspace } = plan.paths
  if (step.kind === 'make-current')
    return [{ kind: 'point', path: placesOf(workspace).current, target: pointerTo(step.generation) }]
  const { gpu, goal } = step
  if (step.kind === 'point') return [{ kind: 'point', path: pointerOf(workspace, gpu), target: pointerTo(goal) }]
  const { comfyui, workers } = unitsOfGpu(plan, gpu)
  const units = [...workers, ...(comfyui === undefined ? [] : [comfyui])]
  // A unit may fail by being stopped, and starts that are asked for are not the crashes that a start limit counts.
  const resets = units.map((unit) => ({ kind: 'reset-failed', unit }) as const)
  if (step.kind === 'stop') return [...units.map((unit) => ({ kind: 'stop', unit }) as const), ...resets]
  // A worker brings its ComfyUI.
  const starts = workers.length === 0 ? units : workers
  return [...resets, ...starts.map((unit) => ({ kind: 'start', unit }) as const)]
}

async function act({ host, manager }: RolloutContext, action: Action): Promise<void> {
  const work = execute(hostExecutors(host.files, manager), action)
  const aborted = new Promise<never>((_, reject) => {
    const stop = (): void => reject(new Error('stopped'))
    if (host.signal.aborted) stop()
    else host.signal.addEventListener('abort', stop, { once: true })
  })
  // A job that runs on may take minutes to drain; the controller that is to stop does not wait for it.
  await Promise.race([work, aborted])
}

async function record(
  context: RolloutContext,
  facts: RolloutFacts,
  step: Extract<RolloutStep, { kind: 'record' }>,
): Promise<void> {
  const { host, recorder, plan } = context
  const generation = facts.next
  const why = generation === undefined || step.why !== 'rejected' ? undefined : step.record.rejected[generation]
  const told = why === undefined ? undefined : { ...why, lines: await linesOf(context, why.unit) }
  const kept =
    told === undefined || generation === undefined
      ? step.record
      : { ...step.record, rejected: { ...step.record.rejected, [generation]: told } }
  const path = placesOf(plan.paths.workspace).rollout
  await act(context, { kind: 'write-file', path, text: renderRollout(kept), mode: 0o644, durable: true })
  const line = recordLine(recorder.machine.state, facts, step)
  if (line !== undefined) host.journal.write(line)
  if (told !== undefined && generation !== undefined) show(recorder, { rejected: { generation, ...told } })
}

async function linesOf(context: RolloutContext, unit: string): Promise<readonly string[]> {
  const { recorder, host } = context
  const read = (): readonly string[] | undefined =>
    recorder.machine.state.attempts.findLast((each) => each.unit === unit)?.lines
  const untilUs = host.clock.nowUs() + LINES_MS * 1000
  while (read() === undefined && host.clock.nowUs() < untilUs) await untilChange(context, LINES_MS / 10)
  return read() ?? []
}

// Begins to show a rollout, or that it goes on with another GPU.
async function open(context: RolloutContext, facts: RolloutFacts, gpu: string | null): Promise<void> {
  const { host, recorder } = context
  const course = courseOf(facts)
  const generation = facts.next ?? facts.current
  if (course === undefined || generation === undefined) return
  const before = recorder.machine.state.generations?.rollout ?? undefined
  const { direction, goal } = course
  const isSame = before?.generation === generation && before.direction === direction && before.gpu === gpu
  if (isSame) return
  const { state } = recorder.machine
  if (before === undefined && direction === 'forward') host.journal.write(beginLine(state, facts, goal))
  tellMoved(context, facts, before)
  const nowUs = host.clock.nowUs()
  const ended = (before?.moves ?? []).map((move) => ({ endUs: nowUs, ...move }))
  const moves = gpu === null ? ended : [...ended, { gpu, direction, startUs: nowUs }]
  showRollout(recorder, { generation, direction, startUs: before?.startUs ?? nowUs, gpu, sinceUs: null, moves })
  if (gpu !== null) {
    const message = `${gpu} is moved ${direction === 'back' ? 'back ' : ''}to generation ${goal}`
    host.journal.write(rolloutLine(state, message, { generation: goal, gpu, state: 'moving' }))
  }
  await recorder.flush()
  void host.tellHub('event_driven')
}

function tellMoved({ host, recorder }: RolloutContext, { gpus }: RolloutFacts, before: RolloutState | undefined): void {
  const moved = gpus.find(({ name, standing }) => name === before?.gpu && standing === 'up')
  if (moved?.generation === undefined) return
  const { name: gpu, generation } = moved
  const line = { generation, gpu, state: 'moved' } as const
  host.journal.write(rolloutLine(recorder.machine.state, `${gpu} runs generation ${generation}`, line))
}

// From now on what its ComfyUI says is about the new generation.
async function sign({ host, recorder }: RolloutContext): Promise<void> {
  const rollout = recorder.machine.state.generations?.rollout
  if (rollout === undefined || rollout === null) return
  showRollout(recorder, { ...rollout, sinceUs: host.clock.nowUs() })
  await recorder.flush()
}

function trace({ host, recorder }: RolloutContext, { record }: RolloutFacts, { end, generation }: EndStep): void {
  const rollout = recorder.machine.state.generations?.rollout
  if (rollout === undefined || rollout === null) return
  const why = end === 'done' ? undefined : record.rejected[generation]
  const error = why === undefined ? {} : { error: `${why.code}: ${why.message}` }
  const outcome = { endUs: host.clock.nowUs(), outcome: end, ...error }
  for (const span of rolloutSpans(recorder.machine, rollout, outcome)) recorder.record(span)
}

async function end(context: RolloutContext, facts: RolloutFacts, step: EndStep): Promise<void> {
  const { host, recorder, manager, plan } = context
  tellMoved(context, facts, recorder.machine.state.generations?.rollout ?? undefined)
  await act(context, { kind: 'remove-file', path: placesOf(plan.paths.workspace).next })
  const { generation, end: state } = step
  if (state === 'done') {
    const message = `the machine is on generation ${generation}`
    host.journal.write(rolloutLine(recorder.machine.state, message, { generation, state }))
  } else recorder.warn(endWarning(facts, step))
  trace(context, facts, step)
  showRollout(recorder, null)
  await recorder.flush()
  void host.tellHub('event_driven')
  // What is too much on the disk is no reason not to go on.
  await manager.start(COLLECT).catch((error: unknown) => {
    const message = `generations that nobody needs are still there: ${messageOf(error)}`
    host.journal.write(rolloutLine(recorder.machine.state, message, { generation, state }, 'warning'))
  })
}
