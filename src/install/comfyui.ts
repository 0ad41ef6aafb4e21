import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { FetchedRevision, Git, Python, Trees } from '../host/install-ports.ts'
import { pointerOf, pointerTo } from '../plan/places.ts'
import type { Attributes } from '../report.ts'
import { withoutUser } from './component-safety.ts'
import { type InstallContext, note, parseRecord, progress, reportFacts } from './context.ts'
import {
  COMPLETE_FILE,
  type ComfyUILock,
  chooseObsolete,
  chooseRef,
  chooseRelease,
  type GenerationRecord,
  generationId,
  isCommitId,
} from './generation.ts'
import { renderModelPaths } from './model-paths.ts'
import { carryOut, pieceOfStep } from './pieces.ts'

const KEPT_GENERATIONS = 3

/** What the ComfyUI installer has beside its context; opened only when something is to be done. */
export interface ComfyUITools {
  readonly git: Git
  readonly python: Python
  readonly trees: Trees
}

/** Step 14: a whole generation of ComfyUI with its own Python environment, and `comfyui/current` pointing at it. */
export async function installComfyUI(context: InstallContext, open: () => Promise<ComfyUITools>): Promise<void> {
  const { plan, host } = context
  const home = join(plan.paths.workspace, 'comfyui')
  const present = await readCurrent(context, home)
  if (present !== undefined) {
    await setPointers(context, present.id)
    await writeModelPaths(context, home)
    reportGeneration(context, present, true)
    return
  }
  const tools = await open()
  await host.files.makeDirectory(join(home, 'generations'))
  const lock = await fetchSource(context, tools.git, home)
  const python = await tools.python.interpreter()
  const requirements = (await tools.git.readFile(lock.repoUrl, lock.commit, 'requirements.txt')) ?? ''
  const id = generationId(lock.commit, host.digest(`${requirements}\0${python}`))
  const directory = join(home, 'generations', id)
  const record: GenerationRecord = {
    schema: 1,
    id,
    repoUrl: lock.repoUrl,
    commit: lock.commit,
    resolved: lock.resolved,
    python,
    installer: tools.python.installer,
  }
  if ((await host.files.stat(join(directory, COMPLETE_FILE))) === undefined) {
    await buildGeneration(context, tools, directory, lock)
    await host.files.writeText(join(directory, COMPLETE_FILE), `${JSON.stringify(record, null, 2)}\n`, {
      durable: true,
    })
  }
  await host.files.link(pointerTo(id), join(home, 'current'))
  await setPointers(context, id)
  await writeModelPaths(context, home)
  await removeObsolete(context, home, id)
  reportGeneration(context, record, false)
}

async function setPointers({ plan, host }: InstallContext, id: string): Promise<void> {
  for (const { gpu } of plan.instances) await host.files.link(pointerTo(id), pointerOf(plan.paths.workspace, gpu))
}

/** The record of the current generation when it is whole and is what the plan wants. */
async function readCurrent(context: InstallContext, home: string): Promise<GenerationRecord | undefined> {
  const { files } = context.host
  const { repoUrl, ref } = context.plan.comfyui
  const current = join(home, 'current')
  const lock = parseRecord<ComfyUILock>(await files.readText(join(home, 'lock.json')))
  const record = parseRecord<GenerationRecord>(await files.readText(join(current, COMPLETE_FILE)))
  if (lock === undefined || record === undefined || lock.repoUrl !== repoUrl || lock.ref !== ref) return undefined
  if (lock.commit !== record.commit || record.repoUrl !== repoUrl) return undefined
  const wanted = [join(current, 'main.py'), join(current, 'venv/bin/python'), record.python]
  const there = await Promise.all(wanted.map((path) => files.stat(path)))
  return there.every((stat) => stat !== undefined) ? record : undefined
}

const STAGES = ['fetch', 'checkout', 'venv', 'packages'] as const

/** One of the stages of an installation: told to people and recorded as a child of the step. */
async function runStage<T>(
  context: InstallContext,
  name: (typeof STAGES)[number],
  text: string,
  run: () => Promise<T>,
  describe: (value: T) => Attributes = () => ({}),
): Promise<T> {
  const code = name === 'fetch' || name === 'checkout' ? 'CM1401' : name === 'venv' ? 'CM1402' : 'CM1403'
  progress(context, text, { done: STAGES.indexOf(name), total: STAGES.length, current: [name] })
  return carryOut(context, pieceOfStep(context, name, code, {}), run, describe)
}

/** Makes the wanted commit present in the mirror. */
async function fetchSource(context: InstallContext, git: Git, home: string): Promise<ComfyUILock> {
  const url = withoutUser(context.plan.comfyui.repoUrl)
  // A name that only a fetch can resolve is fetched before its commit is known.
  let mirror: FetchedRevision['mirror'] = 'reused'
  const fetchRevision: Git['fetch'] = async (from, revision) => {
    const fetched = await git.fetch(from, revision)
    if (fetched.mirror === 'fetched') mirror = 'fetched'
    return fetched
  }
  const fetch = async (): Promise<ComfyUILock> => {
    const lock = await resolveSource(context, { ...git, fetch: fetchRevision }, home)
    await fetchRevision(lock.repoUrl, { commit: lock.commit })
    return lock
  }
  return runStage(context, 'fetch', `fetching ComfyUI from ${url}`, fetch, ({ commit, resolved }) => {
    return { 'git.url': url, 'git.commit': commit, 'git.ref': resolved, 'git.mirror': mirror }
  })
}

/** The lock of the wanted source; made and written when there is none yet. */
async function resolveSource(context: InstallContext, git: Git, home: string): Promise<ComfyUILock> {
  const { files } = context.host
  const { repoUrl, ref } = context.plan.comfyui
  const path = join(home, 'lock.json')
  const known = parseRecord<ComfyUILock>(await files.readText(path))
  if (known !== undefined && known.repoUrl === repoUrl && known.ref === ref) return known
  const { resolved, commit } = await resolveRef(git, repoUrl, ref)
  const lock: ComfyUILock = { schema: 1, repoUrl, ref, resolved, commit }
  await files.writeText(path, `${JSON.stringify(lock, null, 2)}\n`, { durable: true })
  note(context, `ComfyUI ${ref ?? 'latest release'} is ${resolved} at ${commit}`)
  return lock
}

async function resolveRef(git: Git, url: string, ref: string | null): Promise<{ resolved: string; commit: string }> {
  if (ref === null) {
    const release = chooseRelease(await git.listRemote(url, ['refs/tags/v*']))
    return release ?? { resolved: 'HEAD', commit: (await git.fetch(url, {})).commit }
  }
  const patterns = [ref, `refs/heads/${ref}`, `refs/tags/${ref}`, `refs/tags/${ref}^{}`]
  const named = chooseRef(await git.listRemote(url, patterns), ref)
  if (named !== undefined) return named
  if (isCommitId(ref)) return { resolved: ref, commit: (await git.fetch(url, { commit: ref })).commit }
  throw new MachineError('CM1401', `${url} has no branch, tag or commit ${ref}`)
}

/** Every stage can be gone over again, so a generation that was left half-made is completed, not begun anew. */
async function buildGeneration(
  context: InstallContext,
  tools: ComfyUITools,
  directory: string,
  lock: ComfyUILock,
): Promise<void> {
  const { files } = context.host
  const { workspace, models } = context.plan.paths
  await runStage(context, 'checkout', `checking out ComfyUI ${lock.resolved}`, async () => {
    for (const name of ['custom_nodes', 'models']) await files.remove(join(directory, name))
    await tools.git.checkout(lock.repoUrl, lock.commit, directory, { recursive: false })
    await share(tools, files, join(directory, 'custom_nodes'), join(workspace, 'custom_nodes'))
    await share(tools, files, join(directory, 'models'), models)
  })

  const venv = join(directory, 'venv')
  const venvMarker = join(venv, COMPLETE_FILE)
  if ((await files.stat(venvMarker)) === undefined) {
    await runStage(context, 'venv', 'making the Python environment', async () => {
      await files.remove(venv)
      await tools.python.createEnvironment(venv)
      await files.writeText(venvMarker, '')
    })
  }
  const requirements = join(directory, 'requirements.txt')
  if ((await files.stat(requirements)) === undefined) return
  const { installer } = tools.python
  const install = async (): Promise<void> => {
    const outcome = await tools.python.installRequirements(venv, [requirements])
    if (!outcome.ok) throw new MachineError('CM1403', outcome.detail)
  }
  const text = `installing the Python packages of ComfyUI with ${installer}`
  await runStage(context, 'packages', text, install, () => ({ 'python.installer': installer }))
}

/** Turns a directory of the code into a link to the one that all generations share; the code's own files are copied over. */
async function share(
  tools: ComfyUITools,
  files: InstallContext['host']['files'],
  inside: string,
  shared: string,
): Promise<void> {
  await files.makeDirectory(shared)
  if ((await files.stat(inside)) !== undefined) await tools.trees.copyMissing(inside, shared)
  await files.remove(inside)
  await files.link(shared, inside)
}

async function writeModelPaths(context: InstallContext, home: string): Promise<void> {
  const path = join(home, 'extra_model_paths.yaml')
  const text = renderModelPaths(context.plan.paths.models)
  if ((await context.host.files.readText(path)) !== text) await context.host.files.writeText(path, text)
}

async function removeObsolete(context: InstallContext, home: string, current: string): Promise<void> {
  const { files } = context.host
  const root = join(home, 'generations')
  const ids = await files.list(root)
  const generations = await Promise.all(
    ids.map(async (id) => ({ id, completeMs: (await files.stat(join(root, id, COMPLETE_FILE)))?.mtimeMs ?? null })),
  )
  for (const id of chooseObsolete(generations, current, KEPT_GENERATIONS)) await files.remove(join(root, id))
}

function reportGeneration(context: InstallContext, record: GenerationRecord, reused: boolean): void {
  reportFacts(context, {
    'comfyui.generation': record.id,
    'comfyui.commit': record.commit,
    'comfyui.ref': record.resolved,
    'comfyui.reused': reused,
    'python.interpreter': record.python,
    'python.installer': record.installer,
  })
  const what = `ComfyUI ${record.resolved} (${record.commit.slice(0, 10)})`
  note(context, reused ? `${what} is there` : `${what} is installed as generation ${record.id}`)
  context.host.notify.status(reused ? `${what} is there` : `${what} installed`)
}
