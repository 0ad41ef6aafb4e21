import path from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import { openComfyUI } from '../host/comfyui-client.ts'
import { hashFile } from '../host/digest.ts'
import { openJournal } from '../host/journal.ts'
import type { ComfyUI } from '../host/ports.ts'
import { openUnitHost, type UnitHost } from '../host/unit-process.ts'
import { COMPONENTS_FILE } from '../install/components.ts'

import { LOCK_FILE, MODEL_INDEX, placesOf, pointerOf } from '../plan/places.ts'
import type { MachinePlan, PlannedInstance } from '../plan/plan.ts'
import { instanceDirectories } from '../render/unit-values.ts'
import { awaitStart, ComfyUIEnded, isRunning, parseCpuMs, type StartPorts } from '../worker/await-start.ts'
import { toEvidence } from '../worker/evidence.ts'
import { EVIDENCE_FILE, type EvidenceDocument } from '../worker/evidence-document.ts'
import { EVIDENCE_FOLDER } from '../worker/evidence-prompt.ts'
import { keepEvidence, readSeen, renderEvidence } from '../worker/evidence-record.ts'
import { parseExpected } from '../worker/expected.ts'
import { errorOfGaps, type Gap } from '../worker/gap.ts'
import { type Evidence, gatherEvidence } from '../worker/gather-evidence.ts'
import { parseModelIndex } from '../worker/model-places.ts'
import { readPlan } from './read-plan.ts'
import { reportUnitFailure } from './unit-failure.ts'
import { unitFields } from './unit-fields.ts'

const EXTEND_MS = 30_000

/**
 * `comfy-machine probe gpuN`, ExecStartPost= of comfyui@gpuN.service: waits until ComfyUI answers, gathers the evidence that
 * it does what it is to do, and fails when some is missing and the policy is strict. Exit code 0 also when it is told to stop.
 */
export async function probeCommand(gpu: string): Promise<number> {
  let host = openUnitHost(unitFields(19, process.env, { gpu }))
  try {
    const plan = await readPlan(host.files, host.env)
    host = { ...host, journal: openJournal({ fields: unitFields(19, host.env, { gpu, plan }) }) }
    await probe(host, plan, gpu)
    return 0
  } catch (error) {
    if (error instanceof ComfyUIEnded) return 1
    return reportUnitFailure(host, error)
  }
}

async function probe(host: UnitHost, plan: MachinePlan, gpu: string): Promise<void> {
  const instance = plan.instances.find((each) => each.gpu === gpu)
  if (instance === undefined) throw new MachineError('CM0002', `the plan has no ComfyUI for ${gpu}`)
  const url = `http://${reachable(instance.listen)}:${instance.port}`
  const comfyui = openComfyUI(url)
  host.signal.addEventListener('abort', () => comfyui.close())
  const ports = { comfyui, ...processPorts(host) }
  try {
    const stats = await awaitStart(ports, plan.comfyui.startTimeoutS * 1000)
    if (host.signal.aborted) return
    host.report.write({ kind: 'fact', attributes: toEvidence(stats, url) })
    const evidence = await gather(host, plan, instance, ports)
    if (host.signal.aborted) return
    // What is missing of a ComfyUI that is gone says nothing.
    if (evidence.gaps.length > 0 && !(await ports.isAlive())) throw new ComfyUIEnded('it ended while it was looked at')
    await tell(host, plan, evidence)
  } catch (error) {
    if (host.signal.aborted) return
    if (error instanceof MachineError || (await ports.isAlive())) throw error
    throw new ComfyUIEnded(messageOf(error))
  } finally {
    comfyui.close()
  }
}

function processPorts(host: UnitHost): Omit<StartPorts, 'comfyui'> {
  const pid = host.env['MAINPID'] ?? ''
  const readStat = async (): Promise<string | undefined> =>
    /^[1-9][0-9]*$/.test(pid) ? host.files.readText(`/proc/${pid}/stat`) : undefined
  return {
    clock: host.clock,
    cpuMs: async () => {
      const stat = await readStat()
      return stat === undefined ? undefined : parseCpuMs(stat)
    },
    isAlive: async () => pid === '' || isRunning(await readStat()),
    onWaiting: () => host.notify.extend(EXTEND_MS),
    stop: host.signal,
  }
}

async function gather(
  host: UnitHost,
  plan: MachinePlan,
  instance: PlannedInstance,
  ports: StartPorts & { readonly comfyui: ComfyUI },
): Promise<Evidence> {
  const { files } = host
  const { workspace, models } = plan.paths
  const { gpu } = instance
  const generation = await readGeneration(host, workspace, gpu)
  const components = await files.readText(path.join(workspace, COMPONENTS_FILE))
  const lock = await files.readText(path.join(placesOf(workspace).generations, generation, LOCK_FILE))
  const expected = parseExpected(lock, components)
  const picture = path.join(outputDirectory(plan, instance), EVIDENCE_FOLDER)
  await removePicture(host, picture)
  host.notify.extend(EXTEND_MS)
  try {
    return await gatherEvidence(
      { ...ports, files, hash: (file) => hashFile(file) },
      {
        gpu,
        generation,
        traceId: plan.traceId,
        invocationId: host.env['INVOCATION_ID'] ?? '',
        expected,
        seen: await readSeen(
          files,
          workspace,
          plan.gpus.map(({ name }) => name),
        ),
        models,
        verified: parseModelIndex(await files.readText(path.join(workspace, MODEL_INDEX))),
      },
    )
  } finally {
    await removePicture(host, picture)
  }
}

/** What ComfyUI cannot write to, the gap tells; a picture that stays is no reason not to start. */
async function removePicture({ files, journal }: UnitHost, picture: string): Promise<void> {
  await files.remove(picture).catch((error: unknown) => {
    journal.write({ message: `the picture of the evidence is not removed: ${messageOf(error)}`, priority: 'warning' })
  })
}

/** Id of the generation that the ComfyUI of a GPU runs. */
async function readGeneration({ files }: UnitHost, workspace: string, gpu: string): Promise<string> {
  const target =
    (await files.readLink(pointerOf(workspace, gpu))) ?? (await files.readLink(placesOf(workspace).current))
  return path.basename(target ?? 'unknown')
}

/** COMFY_ARGS may name another one than the machine does; the last one counts. */
function outputDirectory(plan: MachinePlan, { gpu, args }: PlannedInstance): string {
  const option = '--output-directory'
  const index = args.findLastIndex((each) => each === option || each.startsWith(`${option}=`))
  const given = args[index]?.includes('=') === true ? args[index]?.slice(option.length + 1) : args[index + 1]
  return index < 0 || given === undefined ? instanceDirectories(plan, gpu).output : given
}

async function tell(host: UnitHost, plan: MachinePlan, evidence: Evidence): Promise<void> {
  const { document, gaps } = evidence
  await keep(host, plan, document)
  host.report.write({
    kind: 'fact',
    attributes: {
      'nodes.import_check': evidence.importCheck,
      'nodes.imported': document.nodes.filter(({ imported }) => imported === true).length,
      'nodes.import_failed': evidence.importFailed.join(','),
      'evidence.generation': document.generation,
      'evidence.complete': document.isComplete,
      'evidence.nodes': document.nodes.length,
      'evidence.classes': document.nodes.reduce((sum, { classes }) => sum + classes.length, 0),
      'evidence.models': document.models.wanted,
      'evidence.gaps': gaps.length,
      'evidence.ms': document.durations['all'] ?? 0,
      'evidence.classes_ms': document.durations['classes'] ?? 0,
      'evidence.prompt_ms': document.durations['prompt'] ?? 0,
    },
  })
  for (const note of document.notes) host.journal.write({ message: note, priority: 'warning' })
  const failure = errorOfGaps(gaps)
  if (failure !== undefined && plan.components.failurePolicy === 'strict') throw failure
  for (const gap of gaps) tellShortfall(host, gap)
}

function tellShortfall(host: UnitHost, { component, error }: Gap): void {
  const { code, type, message, hint } = error
  host.report.write({ kind: 'shortfall', component, failure: { code, type, message, hint } })
  host.journal.write({
    message: `${code}: ${message}; COMPONENT_FAILURE_POLICY=degraded: this ComfyUI goes on without`,
    priority: 'warning',
    fields: { COMFY_ERROR_CODE: code, COMFY_ERROR_TYPE: type },
  })
}

/** What cannot be kept is no reason not to start. */
async function keep(host: UnitHost, plan: MachinePlan, document: EvidenceDocument): Promise<void> {
  const { files, env, journal } = host
  const runtime = env['RUNTIME_DIRECTORY']?.split(':')[0] ?? ''
  try {
    if (runtime !== '') await files.writeText(path.join(runtime, EVIDENCE_FILE), renderEvidence(document))
    await keepEvidence(files, plan.paths.workspace, document)
  } catch (error) {
    journal.write({ message: `the evidence of this start is not kept: ${messageOf(error)}`, priority: 'warning' })
  }
}

/** An address to connect to for an address to listen on. */
function reachable(listen: string): string {
  if (listen === '0.0.0.0' || listen === '') return '127.0.0.1'
  if (listen === '::') return '[::1]'
  return listen.includes(':') ? `[${listen}]` : listen
}
