import { MachineError } from '../errors.ts'
import { openComfyUI } from '../host/comfyui-client.ts'
import { openJournal } from '../host/journal.ts'
import type { ComfyUI } from '../host/ports.ts'
import { openUnitHost, type UnitHost } from '../host/unit-process.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { awaitStart, ComfyUIEnded, isRunning, parseCpuMs } from '../worker/await-start.ts'
import { toEvidence } from '../worker/evidence.ts'
import { describeFailures, findMissing, parseImports, splitByWanted, wantedNodes } from '../worker/imports.ts'
import { readPlan } from './read-plan.ts'
import { reportUnitFailure } from './unit-failure.ts'
import { unitFields } from './unit-fields.ts'

const EXTEND_MS = 30_000

/**
 * `comfy-machine probe gpuN`, ExecStartPost= of comfyui@gpuN.service: waits until ComfyUI answers and fails when it
 * could not import a wanted custom node. Exit code 0 also when it is told to stop.
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
  try {
    const pid = host.env['MAINPID'] ?? ''
    const stats = await awaitStart(
      {
        comfyui,
        clock: host.clock,
        cpuMs: async () => toCpuMs(await readStat(host, pid)),
        isAlive: async () => pid === '' || isRunning(await readStat(host, pid)),
        onWaiting: () => host.notify.extend(EXTEND_MS),
        stop: host.signal,
      },
      plan.comfyui.startTimeoutS * 1000,
    )
    if (host.signal.aborted) return
    host.report.write({ kind: 'fact', attributes: toEvidence(stats, url) })
    await checkImports(host, plan, comfyui)
  } catch (error) {
    if (!host.signal.aborted) throw error
  } finally {
    comfyui.close()
  }
}

async function checkImports(host: UnitHost, plan: MachinePlan, comfyui: ComfyUI): Promise<void> {
  const fact = (check: string, more: Readonly<Record<string, string | number>> = {}): void =>
    host.report.write({ kind: 'fact', attributes: { 'nodes.import_check': check, ...more } })
  const messages = await comfyui.logs()
  if (messages === undefined) {
    const message = 'this ComfyUI does not show its log; imports of custom nodes are not checked'
    host.journal.write({ message, priority: 'warning' })
    return fact('unavailable')
  }
  const components = await host.files.readText(`${plan.paths.workspace}/components.json`)
  const wanted = wantedNodes(components)
  const imports = parseImports(messages)
  const failed = splitByWanted(imports.failures, wanted)
  const missing = [...failed.wanted, ...findMissing(imports, wanted)]
  if (failed.others.length > 0) {
    const message = `not imported, and not asked for: ${describeFailures(failed.others)}`
    host.journal.write({ message, priority: 'warning' })
  }
  fact(imports.isComplete ? 'complete' : 'incomplete', {
    'nodes.imported': imports.imported.length,
    'nodes.import_failed': imports.failures.map(({ name }) => name).join(','),
  })
  if (missing.length > 0) throw new MachineError('CM1902', describeFailures(missing))
}

async function readStat(host: UnitHost, pid: string): Promise<string | undefined> {
  return /^[1-9][0-9]*$/.test(pid) ? host.files.readText(`/proc/${pid}/stat`) : undefined
}

const toCpuMs = (stat: string | undefined): number | undefined => (stat === undefined ? undefined : parseCpuMs(stat))

/** An address to connect to for an address to listen on. */
function reachable(listen: string): string {
  if (listen === '0.0.0.0' || listen === '') return '127.0.0.1'
  if (listen === '::') return '[::1]'
  return listen.includes(':') ? `[${listen}]` : listen
}
