import { dirname } from 'node:path'
import { type LoadedConfig, loadConfig, type MachineConfig } from '../config/load-config.ts'
import { loadMapping } from '../config/load-mapping.ts'
import { type Problem, placeOf, problemOf, type Warning, warningOf } from '../config/problem.ts'
import type { ResolvedMapping } from '../config/resolve-mapping.ts'
import { chooseGpus } from '../detect/choose-gpus.ts'
import { messageOf, toMachineError } from '../errors.ts'
import { readConfigSources, readMappingSource } from '../host/config-files.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import { readGpuEvidence } from '../host/gpu-evidence.ts'
import { openHttpClient } from '../host/http-client.ts'
import { readIdentity } from '../host/identity.ts'
import type { Files, Terminal } from '../host/ports.ts'
import { closeRedis, connectRedis } from '../host/redis.ts'
import { planMachine } from '../plan/plan-machine.ts'

/** What `comfy-machine check` may be told. */
export interface CheckOptions {
  /** One JSON object `{ok, problems, warnings, gpus}` instead of lines. */
  readonly json: boolean
  /** Further files in the syntax of machine.env; one with `secret` in its name holds secrets. */
  readonly envFiles: readonly string[]
}

interface Findings {
  readonly problems: Problem[]
  readonly warnings: Warning[]
  /** Why which GPUs were chosen, one line each. */
  readonly gpus: string[]
}

const REACH_MS = 10_000
const REDIS_MS = 5_000
const LITTLE_SPACE = 2 ** 30

/**
 * `comfy-machine check`: configuration, mapping, GPUs, directories, component API and Redis; changes nothing. Resolves
 * to the exit code: 0 everything fits, 1 there are problems, 2 there are warnings only.
 */
export async function checkCommand(options: CheckOptions, terminal: Terminal): Promise<number> {
  const findings: Findings = { problems: [], warnings: [], gpus: [] }
  const loaded = await readConfig(options, findings)
  const mapping = loadMapping(await readMappingSource(systemFiles), loaded.config)
  add(findings, mapping)
  if (loaded.config !== undefined) await checkHost(loaded.config, mapping.mapping, findings)
  terminal.write(options.json ? `${JSON.stringify(asJson(findings), null, 2)}\n` : asText(findings))
  if (findings.problems.length > 0) return 1
  return findings.warnings.length > 0 ? 2 : 0
}

async function readConfig(options: CheckOptions, findings: Findings): Promise<LoadedConfig> {
  const { sources, problems } = await readConfigSources(systemFiles, options.envFiles)
  const loaded = loadConfig(sources, await readIdentity(systemFiles))
  findings.problems.push(...problems)
  add(findings, loaded)
  return loaded
}

async function checkHost(
  config: MachineConfig,
  mapping: ResolvedMapping | undefined,
  findings: Findings,
): Promise<void> {
  const note = (problem: Problem | undefined): void => {
    if (problem !== undefined) findings.problems.push(problem)
  }
  note(await attempt(() => checkGpus(config, mapping, findings)))
  for (const [variable, path] of [
    ['WORKSPACE_PATH', config.workspace],
    ['MODELS_PATH', config.models],
  ] as const) {
    add(findings, await checkDirectory(systemFiles, variable, path))
  }
  const [api, redis] = await Promise.all([checkApi(config), attempt(() => checkRedis(config))])
  note(redis)
  if (api !== undefined && config.staleOk) {
    findings.warnings.push(warningOf(`${api.message}; COMPONENTS_STALE_OK is set`, { variable: 'EMPROPS_API_URL' }))
  } else note(api)
}

async function checkGpus(
  config: MachineConfig,
  mapping: ResolvedMapping | undefined,
  findings: Findings,
): Promise<void> {
  const evidence = config.gpuMode === 'mock' ? null : await readGpuEvidence(systemExec, systemFiles)
  const hardware = chooseGpus(config, evidence)
  findings.gpus.push(...hardware.trail)
  if (mapping !== undefined) planMachine(config, mapping, hardware, { version: '', traceId: '' })
}

/** A directory that does not exist yet is judged by the nearest one above it that does. */
async function checkDirectory(
  files: Files,
  variable: string,
  path: string,
): Promise<{ readonly problems: readonly Problem[]; readonly warnings: readonly Warning[] }> {
  try {
    const stat = await files.stat(path)
    if (stat === undefined && path !== '/') return await checkDirectory(files, variable, dirname(path))
    if (stat?.kind !== 'directory') {
      return { problems: [problemOf('CM0401', `${variable}: ${path} is no directory`, { variable })], warnings: [] }
    }
    const { bytes, inodes } = await files.freeSpace(path)
    const free = `${variable}: the volume of ${path} has ${Math.floor(bytes / 2 ** 20)} MiB and ${inodes} inodes free`
    if (bytes === 0 || inodes === 0) return { problems: [problemOf('CM0402', free, { variable })], warnings: [] }
    return { problems: [], warnings: bytes < LITTLE_SPACE ? [warningOf(free, { variable })] : [] }
  } catch (thrown) {
    return { problems: [problemOf('CM0401', `${variable}: ${messageOf(thrown)}`, { variable })], warnings: [] }
  }
}

async function checkApi(config: MachineConfig): Promise<Problem | undefined> {
  const variable = 'EMPROPS_API_URL'
  const url = `${config.apiUrl}/health`
  const key = config.secrets.get('EMPROPS_API_KEY')
  try {
    const { status } = await openHttpClient(config.environment, AbortSignal.timeout(REACH_MS)).request({
      method: 'GET',
      url,
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
      connectTimeoutMs: REACH_MS,
      timeoutMs: REACH_MS,
      maxBytes: 2 ** 20,
    })
    if (status >= 200 && status < 300) return undefined
    const code = status === 401 || status === 403 ? 'CM1603' : 'CM1602'
    return problemOf(code, `GET ${url} answered ${status}`, {
      variable,
      hint: 'Check EMPROPS_API_URL and EMPROPS_API_KEY.',
    })
  } catch (thrown) {
    return problemOf('CM1601', `GET ${url}: ${messageOf(thrown)}`, { variable })
  }
}

async function checkRedis(config: MachineConfig): Promise<void> {
  const url = config.secrets.get('HUB_REDIS_URL')
  if (url !== undefined) await closeRedis(await connectRedis(url, REDIS_MS))
}

async function attempt(work: () => Promise<void>): Promise<Problem | undefined> {
  try {
    await work()
    return undefined
  } catch (thrown) {
    const { code, message, hint } = toMachineError(thrown)
    return problemOf(code, message, { hint })
  }
}

function add(
  findings: Findings,
  more: { readonly problems: readonly Problem[]; readonly warnings: readonly Warning[] },
): void {
  findings.problems.push(...more.problems)
  findings.warnings.push(...more.warnings)
}

function asJson(findings: Findings): object {
  return { ok: findings.problems.length === 0, ...findings }
}

function asText({ problems, warnings, gpus }: Findings): string {
  const lines = gpus.map((line) => `gpus: ${line}`)
  for (const warning of warnings) lines.push(`warning: ${placeOf(warning)}${warning.message}`)
  for (const problem of problems) {
    lines.push(`${placeOf(problem)}${problem.code} ${problem.message}`, `    ${problem.hint}`)
  }
  lines.push(`${problems.length} problems, ${warnings.length} warnings`)
  return `${lines.join('\n')}\n`
}
