import { describe, expect, it } from 'vitest'
import { writeLock } from '../../../src/commands/lock.ts'
import type { MachineLock } from '../../../src/install/machine-lock.ts'
import { memoryMachine, nodeOf } from '../install/build-context.ts'
import { keepingTerminal } from './ports.ts'

const model = { name: 'm', url: null, path: 'vae/m', bytes: null, estimatedBytes: 7, authEnvVar: null, sources: [] }

async function machineWithModels() {
  const machine = memoryMachine([nodeOf('a')])
  const others = { ...model, path: 'vae/unknown', sha256: null }
  machine.wanted.models = [{ ...model, sha256: null }, others]
  await machine.build()
  const files = { 'vae/m': { bytes: 9, mtimeMs: 1, sha256: 'ab'.repeat(32) } }
  machine.texts.set('/w/models.json', JSON.stringify({ schema: 1, files }))
  const terminal = keepingTerminal()
  return { machine, terminal, ports: { files: machine.host.files, terminal, workspace: '/w' } }
}

describe('comfy-machine lock', () => {
  it('prints the lock of the current generation, with the hashes of models that were verified', async () => {
    const { machine, terminal, ports } = await machineWithModels()
    expect(await writeLock({}, ports)).toBe(0)
    const lock = JSON.parse(terminal.out.join('')) as MachineLock
    const known = machine.lockOf(machine.whole()[0] ?? '')
    expect({ ...lock, models: [] }).toEqual({ ...known, models: [] })
    expect(lock.models.map(({ sha256, bytes }) => [sha256, bytes])).toEqual([
      ['ab'.repeat(32), 9],
      [null, null],
    ])
  })

  it('writes that of a named one to a file', async () => {
    const { machine, terminal, ports } = await machineWithModels()
    await writeLock({ generation: machine.whole()[0] ?? '', out: '/root/lock.json' }, ports)
    expect(terminal.out).toEqual([])
    expect(machine.texts.get('/root/lock.json')).toMatch(/^\{\n {2}"schema": 1/)
  })

  it.each(['0123456789abcdef', '../../../etc'])('does not know %s', async (generation) => {
    const { ports } = await machineWithModels()
    await expect(writeLock({ generation }, ports)).rejects.toMatchObject({ code: 'CM1911' })
  })
})
