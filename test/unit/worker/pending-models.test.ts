import { expect, test } from 'vitest'
import type { FileStat } from '../../../src/host/ports.ts'
import { pendingOf, readPendingModels } from '../../../src/worker/pending-models.ts'

test('models that may come after the start and are not there are pending', async () => {
  const models = [
    { name: 'now', path: 'vae/now' },
    { name: 'there', path: 'vae/there', when: 'after_start' },
    { name: 'later', path: 'vae/later', when: 'after_start' },
    { name: 'named', path: null, when: 'after_start' },
  ]
  const texts = new Map([['/w/comfyui/gpu1/machine.lock.json', JSON.stringify({ schema: 1, models })]])
  const stats = new Map([['/m/vae/there', {} as FileStat]])
  const files = { readText: async (file: string) => texts.get(file), stat: async (file: string) => stats.get(file) }
  const paths = { workspace: '/w', models: '/m' }
  expect(await readPendingModels(files, paths, 'gpu1')).toEqual(['vae/later'])
  expect(await readPendingModels(files, paths, 'gpu0')).toEqual([])
})

test('no refusal of any shape names a model by mistake', () => {
  const workflow = { '1': { inputs: { ckpt: '', list: ['later'], none: null } } }
  const refusal = (input: unknown) => ({
    node_errors: { '1': { errors: [{ type: 'value_not_in_list', extra_info: { input_name: input } }] } },
  })
  const all = [null, 'x', [], { node_errors: null }, { node_errors: { '2': { errors: 7 } } }, refusal('ckpt')]
  for (const body of [...all, refusal('list'), refusal('none'), refusal(undefined)])
    expect(pendingOf(workflow, body, ['vae/later']), JSON.stringify(body)).toEqual([])
})
