import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { Python } from '../host/install-ports.ts'
import { type InstallContext, note, reportChild, spanOf } from './context.ts'
import type { NodeProgress } from './node-progress.ts'
import { attempt, type NodeWork } from './node-work.ts'
import { carryOut } from './pieces.ts'

const RESOLVE_ALL = 'resolve requirements'

/** All requirement files go into one resolution; only when that fails each changed node is tried alone, to name the culprit. */
export async function installPackages(
  context: InstallContext,
  python: Python,
  works: readonly NodeWork[],
  comfyui: string,
  progress: NodeProgress,
): Promise<void> {
  const { files } = context.host
  for (const work of works) {
    const path = join(work.directory, 'requirements.txt')
    if (!work.node.requirements || work.error !== undefined) continue
    if ((await files.stat(path))?.kind === 'file') work.requirements = path
  }
  const wanting = works.filter(({ requirements }) => requirements !== undefined)
  const changed = wanting.filter(({ action }) => action !== 'keep')
  if (changed.length === 0) return
  const base = join(comfyui, 'requirements.txt')
  const common = (await files.stat(base)) === undefined ? [] : [base]
  const text = `installing the Python packages of ${wanting.length} custom nodes with ${python.installer}`
  progress.begin(wanting.length, () => text)
  const install = (chosen: readonly NodeWork[]): ReturnType<Python['installRequirements']> =>
    python.installRequirements(join(comfyui, 'venv'), [
      ...common,
      ...chosen.flatMap(({ requirements }) => requirements ?? []),
    ])
  const startUs = context.host.clock.nowUs()
  const all = await install(wanting)
  const attributes = { 'resolve.nodes': wanting.length, 'resolve.installer': python.installer }
  reportChild(context, {
    name: RESOLVE_ALL,
    startUs,
    state: all.ok ? 'done' : 'failed',
    attributes: { ...attributes, 'resolve.outcome': all.ok ? 'together' : 'conflict' },
    ...(all.ok ? {} : { error: new MachineError('CM1703', all.detail) }),
  })
  if (all.ok) return
  const message = `the packages of all custom nodes do not install together, trying one by one: ${all.detail}`
  note(context, message, 'warning', { SPAN_ID: spanOf(context, RESOLVE_ALL) })
  await installOneByOne(context, python.installer, changed, (work) => install([work]), progress)
}

async function installOneByOne(
  context: InstallContext,
  installer: Python['installer'],
  works: readonly NodeWork[],
  install: (work: NodeWork) => ReturnType<Python['installRequirements']>,
  progress: NodeProgress,
): Promise<void> {
  progress.begin(works.length, (done) => `packages of ${done}/${works.length} custom nodes installed`)
  for (const work of works) {
    const { node, pieces } = work
    const attributes = { 'resolve.installer': installer }
    const add = pieces.push.bind(pieces)
    progress.enter(node.name)
    await attempt(context, work, () =>
      carryOut(context, { name: 'resolve', code: 'CM1703', attributes, add }, async () => {
        const one = await install(work)
        if (!one.ok) throw new MachineError('CM1703', `custom node ${node.name}: ${one.detail}`)
      }),
    )
    progress.leave(node.name)
  }
}
