import { describe, expect, it } from 'vitest'
import type { HttpClient } from '../../../src/host/install-ports.ts'
import type { WantedNode } from '../../../src/install/components.ts'
import { installUpdate } from '../../../src/install/update.ts'
import { COMFYUI, commitOf, type MemoryMachine, memoryMachine, nodeOf } from './build-context.ts'

/** A component API that wants these nodes, and the tools of an update. */
function toolsOf(machine: MemoryMachine, nodes: readonly WantedNode[]) {
  const rows = nodes.map(({ name, url, commit }) => ({ name, repositoryUrl: url, commit, requirements: true }))
  const http: HttpClient = {
    request: async () => ({
      status: 200,
      headers: { 'content-type': 'application/json' },
      text: JSON.stringify({ data: rows, error: null }),
    }),
  }
  return {
    openHttp: async () => http,
    openBuild: machine.tools,
    bringModels: async () => undefined,
  }
}

const pointersOf = (machine: MemoryMachine) => ['current', 'gpu0', 'gpu1'].map(machine.pointer)

describe('installUpdate', () => {
  it('asks for everything anew and makes what comes of it the next generation, and touches nothing that runs', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    const [running = ''] = machine.whole()
    const before = [...machine.texts].filter(([path]) => path.includes(running) || path.endsWith('components.json'))
    machine.outside.heads.set(nodeOf('a').url, commitOf('a1'))
    machine.outside.heads.set(COMFYUI, commitOf('c1'))
    await installUpdate(machine, toolsOf(machine, [nodeOf('a')]))
    const next = machine.pointer('next') ?? ''
    expect(machine.lockOf(next)).toMatchObject({
      comfyui: { commit: commitOf('c1') },
      nodes: [{ commit: commitOf('a1') }],
    })
    expect(pointersOf(machine)).toEqual([running, running, running])
    for (const [path, text] of before) expect(machine.texts.get(path), path).toBe(text)
  })

  it('asks for nothing when the machine is on it already', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    const tools = toolsOf(machine, [nodeOf('a')])
    await installUpdate(machine, tools)
    const next = machine.pointer('next')
    await machine.host.files.link(`generations/${next}`, '/w/comfyui/current')
    await machine.host.files.remove('/w/comfyui/next')
    machine.asked.length = 0
    await installUpdate(machine, tools)
    expect(machine.asked).not.toContain('create')
    expect(machine.pointer('next')).toBeUndefined()
    expect(machine.entries.at(-1)?.message).toBe(`the machine is on generation ${next} already`)
  })

  it('removes only what it made itself when it fails, and not even what runs and is damaged', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    const [running = ''] = machine.whole()
    machine.texts.delete(`/w/comfyui/generations/${running}/main.py`)
    const before = [...machine.texts].filter(([path]) => path.startsWith('/w/comfyui'))
    const pending = installUpdate(machine, toolsOf(machine, [nodeOf('a'), nodeOf('gone')]))
    await expect(pending).rejects.toMatchObject({ code: 'CM1701' })
    expect([...machine.texts].filter(([path]) => path.startsWith('/w/comfyui'))).toEqual(before)
  })
})
