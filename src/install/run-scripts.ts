import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { Exec } from '../host/ports.ts'
import type { WantedNode } from './components.ts'
import { createHeartbeat, type InstallContext, note, traceOf } from './context.ts'
import { publicEnv } from './node-env.ts'
import { nodeFields } from './node-work.ts'

/** What a node's scripts run with. */
export interface ScriptTools {
  /** Runs programs in the sandbox. */
  readonly sandbox: Exec
  /** The Python environment of the generation, and the variables that make it the one in use. */
  readonly environment: string
  readonly variables: Readonly<Record<string, string>>
  /** Directory of ComfyUI, which is that of the generation. */
  readonly comfyui: string
  /** Called before each script. */
  readonly onScript: (node: WantedNode, what: string) => void
  /** Called after each script that ended well; what it throws is the script's failure. */
  readonly afterScript: (node: WantedNode, what: string) => Promise<void>
}

/** `install.py` and the custom script of one node, in the sandbox; returns what was run. Throws CM1704 when one fails. */
export async function runScripts(
  context: InstallContext,
  tools: ScriptTools,
  node: WantedNode,
): Promise<readonly string[]> {
  const { files } = context.host
  const directory = join(tools.comfyui, 'custom_nodes', node.name)
  const ran: string[] = []
  const run = async (what: string, argv: readonly [string, ...string[]]): Promise<void> => {
    await runScript(context, tools, { node, directory, what }, argv)
    ran.push(what)
    await tools.afterScript(node, what)
    if ((await files.lstat(directory))?.kind === 'directory') return
    throw new MachineError('CM1704', `custom node ${node.name}: ${what} put something else in place of ${directory}`)
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
  tools: ScriptTools,
  script: { readonly node: WantedNode; readonly directory: string; readonly what: string },
  argv: readonly [string, ...string[]],
): Promise<void> {
  const { plan, host } = context
  const { node, directory, what } = script
  const beat = createHeartbeat(host)
  const last: string[] = []
  const fields = nodeFields(context, node)
  tools.onScript(node, what)
  const result = await tools.sandbox.run(argv, {
    cwd: directory,
    env: {
      ...plan.environment,
      ...tools.variables,
      COMFYUI_PATH: tools.comfyui,
      TRACEPARENT: traceOf(context, `node ${node.name}`, 'install'),
      ...publicEnv(context, node),
    },
    timeoutMs: plan.nodes.scriptTimeoutS * 1000,
    signal: host.signal,
    onLine: (line) => {
      if (line.trim() === '') return
      last.push(line.trim())
      if (last.length > 3) last.shift()
      beat()
      note(context, `${node.name}: ${line}`, 'info', fields)
    },
  })
  host.signal.throwIfAborted()
  if (result.code === 0) return
  const end = result.timedOut
    ? `took longer than ${plan.nodes.scriptTimeoutS} s (NODE_SCRIPT_TIMEOUT)`
    : result.signal !== null
      ? `got ${result.signal}`
      : `exited ${result.code}`
  throw new MachineError('CM1704', `custom node ${node.name}: ${what} ${end}: ${last.join(' | ').slice(0, 400)}`)
}
