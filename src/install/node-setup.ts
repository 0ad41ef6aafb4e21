import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { Python } from '../host/install-ports.ts'
import type { WantedNode } from './components.ts'
import { createHeartbeat, type InstallContext, note, spanOf, traceOf } from './context.ts'
import { renderEnvFile } from './node-env.ts'

const SCRIPT_LIMIT_MS = 60 * 60_000

/** What a node's scripts run with. */
export interface SetupTools {
  readonly python: Python
  readonly environment: string
  readonly comfyui: string
  /** Called before each script. */
  readonly onScript: (node: WantedNode, what: string) => void
}

/** The fields of a journal line about one node. */
export function nodeFields(context: InstallContext, node: WantedNode): Readonly<Record<string, string>> {
  return { COMFY_NODE: node.name, SPAN_ID: spanOf(context, `node ${node.name}`) }
}

/** `.env`, `install.py` and the custom script of one node; returns what was run. Throws CM1704 when a script fails. */
export async function setUpNode(
  context: InstallContext,
  tools: SetupTools,
  node: WantedNode,
  directory: string,
  values: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const { files } = context.host
  if (Object.keys(values).length > 0) {
    await files.writeText(join(directory, '.env'), renderEnvFile(values), { mode: 0o640 })
  }
  const ran: string[] = []
  const run = async (what: string, argv: readonly [string, ...string[]]): Promise<void> => {
    await runScript(context, tools, node, directory, values, what, argv)
    ran.push(what)
  }
  if ((await files.stat(join(directory, 'install.py')))?.kind === 'file') {
    await run('install.py', [join(tools.environment, 'bin', 'python'), 'install.py'])
  }
  if (node.customScript !== null) {
    await run('custom_script', ['/bin/bash', '-euo', 'pipefail', '-c', node.customScript])
  }
  return ran
}

async function runScript(
  context: InstallContext,
  tools: SetupTools,
  node: WantedNode,
  directory: string,
  values: Readonly<Record<string, string>>,
  what: string,
  argv: readonly [string, ...string[]],
): Promise<void> {
  const { exec, signal } = context.host
  const beat = createHeartbeat(context.host)
  const last: string[] = []
  const fields = nodeFields(context, node)
  tools.onScript(node, what)
  const result = await exec.run(argv, {
    cwd: directory,
    env: {
      ...context.plan.environment,
      ...tools.python.scriptEnvironment(tools.environment),
      COMFYUI_PATH: tools.comfyui,
      TRACEPARENT: traceOf(context, `node ${node.name}`, 'install'),
      ...values,
    },
    timeoutMs: SCRIPT_LIMIT_MS,
    signal,
    onLine: (line) => {
      if (line.trim() === '') return
      last.push(line.trim())
      if (last.length > 3) last.shift()
      beat()
      note(context, `${node.name}: ${line}`, 'info', fields)
    },
  })
  signal.throwIfAborted()
  if (result.code === 0) return
  const end = result.timedOut
    ? 'ran out of time'
    : result.signal !== null
      ? `got ${result.signal}`
      : `exited ${result.code}`
  throw new MachineError('CM1704', `custom node ${node.name}: ${what} ${end}: ${last.join(' | ').slice(0, 400)}`)
}
