import { join } from 'node:path'
import type { ErrorCode } from '../errors.ts'
import type { PythonEnvironments, Trees } from '../host/install-ports.ts'
import type { Exec } from '../host/ports.ts'
import type { Attributes } from '../report.ts'
import type { WantedNode } from './components.ts'
import { type InstallContext, note } from './context.ts'
import { envFile } from './node-env.ts'
import type { NodeProgress } from './node-progress.ts'
import { attempt, type NodeWork, nodeFields } from './node-work.ts'
import { carryOut, pieceOfStep } from './pieces.ts'
import { runScripts, type ScriptTools } from './run-scripts.ts'
import { type DistributionChange, diffDistributions, torchReplaced } from './torch-guard.ts'

const PINNED = '.requirements.lock'

/** What fills a generation whose sources are there. */
export interface FillTools {
  readonly python: PythonEnvironments
  /** Runs programs of others without secrets, see `src/host/sandbox.ts`. */
  readonly sandbox: Exec
  readonly trees: Trees
}

/** A generation whose sources are there; `requirements` are pinned. */
export interface Filling {
  readonly directory: string
  readonly works: readonly NodeWork[]
  readonly requirements: string
  readonly progress: NodeProgress
}

/** Packages, scripts, links and bytecode of a generation. What a node's script does wrong becomes the failure of its work. */
export async function fillGeneration(context: InstallContext, tools: FillTools, filling: Filling): Promise<void> {
  const { python } = tools
  const { directory, works, progress } = filling
  const { files } = context.host
  const environment = join(directory, 'venv')
  const stage = <T>(
    name: string,
    code: ErrorCode,
    text: string,
    run: () => Promise<T>,
    attributes: Attributes = {},
  ) => {
    progress.begin(1, () => text)
    return carryOut(context, pieceOfStep(context, name, code, attributes), run)
  }
  await shareModels(context, tools.trees, directory)
  await stage('venv', 'CM1402', 'making the Python environment', () => python.create(environment))
  if (filling.requirements !== '') {
    const path = join(directory, PINNED)
    await files.writeText(path, filling.requirements)
    const text = `installing the Python packages with ${python.installer}`
    const attributes = { 'python.installer': python.installer }
    await stage('packages', 'CM1403', text, () => python.install(environment, path), attributes)
    await files.remove(path)
  }
  await setUpNodes(context, tools, filling)
  if (works.some(({ error }) => error !== undefined)) return
  await stage('compile', 'CM1403', 'compiling Python files', () => python.compile(environment, [directory]))
  if (context.plan.nodes.writable) {
    const argv = ['chmod', '-R', 'g+w', join(directory, 'custom_nodes')] as const
    await context.host.exec.run([...argv], { env: { PATH: '/usr/bin:/bin' } })
  }
}

/** The models of ComfyUI are those of the machine; what its repository has among them is copied over once. */
async function shareModels({ plan, host }: InstallContext, trees: Trees, directory: string): Promise<void> {
  const inside = join(directory, 'models')
  await host.files.makeDirectory(plan.paths.models)
  if ((await host.files.lstat(inside))?.kind === 'directory') await trees.copyMissing(inside, plan.paths.models)
  await host.files.remove(inside)
  await host.files.link(plan.paths.models, inside)
}

async function setUpNodes(context: InstallContext, tools: FillTools, filling: Filling): Promise<void> {
  const { directory, works, progress } = filling
  const environment = join(directory, 'venv')
  let packages = await tools.python.distributions(environment)
  const scripts: ScriptTools = {
    sandbox: tools.sandbox,
    environment,
    variables: tools.python.scriptEnvironment(environment),
    comfyui: directory,
    onScript: (node, what) => progress.enter(node.name, what),
    async afterScript(node, what) {
      const before = packages
      packages = await tools.python.distributions(environment)
      checkPackages(context, node, what, diffDistributions(before, packages))
    },
  }
  progress.begin(works.length, (done) => `${done}/${works.length} custom nodes set up`)
  for (const work of works) {
    const { node, pieces } = work
    progress.enter(node.name)
    const attributes = { 'install.env': Object.keys(node.env).length }
    const piece = { name: 'install', code: 'CM1704' as const, attributes, add: pieces.push.bind(pieces) }
    const setUp = async (): Promise<readonly string[]> => {
      const ran = await runScripts(context, scripts, node)
      await linkEnv(context, work, directory)
      return ran
    }
    await attempt(context, work, async () => {
      await carryOut(context, piece, setUp, (ran) => ({ 'install.scripts': ran.join(', ') }))
    })
    if (work.error === undefined) {
      const message = `custom node ${node.name} is installed at ${work.commit?.slice(0, 10)}`
      note(context, message, 'info', { ...nodeFields(context, node), COMFY_STATE: 'done' })
    }
    progress.leave(node.name)
  }
}

/** What a script did to the packages. Throws CM1708 when it replaced torch; other changes are told. */
function checkPackages(
  context: InstallContext,
  node: WantedNode,
  script: string,
  changes: readonly DistributionChange[],
): void {
  const failure = torchReplaced(node.name, script, changes)
  if (failure !== undefined) throw failure
  if (changes.length === 0) return
  const texts = changes.map(({ name, before, after }) => `${name} ${before ?? 'none'} → ${after ?? 'none'}`)
  const message = `custom node ${node.name}: ${script} changed packages: ${texts.join(', ')}`
  note(context, message, 'notice', nodeFields(context, node))
}

/** Scripts ran without it: what it leads to is out of their reach. */
async function linkEnv({ plan, host }: InstallContext, { node }: NodeWork, directory: string): Promise<void> {
  if (Object.keys(node.env).length === 0) return
  const path = join(directory, 'custom_nodes', node.name, '.env')
  await host.files.remove(path)
  await host.files.link(envFile(plan.paths.workspace, node.name), path)
}
