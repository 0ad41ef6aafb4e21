import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { chooseGpus, type GpuEvidence, type GpuWish } from '../../../src/detect/choose-gpus.ts'
import { parseNvidiaSmi, sysfsPciAddress } from '../../../src/detect/nvidia-smi.ts'
import { parseXml } from '../../../src/detect/xml.ts'
import { MachineError } from '../../../src/errors.ts'

const fixture = (name: string): string =>
  readFileSync(new URL(`../../fixtures/nvidia-smi/${name}`, import.meta.url), 'utf8')
const auto: GpuWish = {
  gpuMode: 'actual',
  mockGpuCount: 1,
  workers: [{ type: 'comfyui', count: 'auto' }],
  python: { installer: 'uv', torchBackend: null },
  environment: {},
  secrets: new Map(),
}
const counted = (count: number): GpuWish => ({ ...auto, workers: [{ type: 'comfyui', count }] })
const answer = (stdout: string, code: number | null = 0, stderr = ''): GpuEvidence['query'] => ({
  code,
  stdout,
  stderr,
})
const evidence = (query: GpuEvidence['query'], more: Partial<GpuEvidence> = {}): GpuEvidence => ({
  query,
  list: answer(''),
  numaNodes: new Map(),
  graphics: [],
  ...more,
})

function failure(wish: GpuWish, facts: GpuEvidence): MachineError {
  try {
    chooseGpus(wish, facts)
  } catch (thrown) {
    if (thrown instanceof MachineError) return thrown
    throw thrown
  }
  throw new Error('it did not fail')
}

describe('chooseGpus', () => {
  test('one P100', () => {
    const { gpus, trail } = chooseGpus(
      auto,
      evidence(answer(fixture('tesla-p100.xml')), { numaNodes: new Map([['0000:00:04.0', -1]]), graphics: ['ASPEED'] }),
    )
    expect(gpus).toEqual([
      {
        uuid: 'GPU-d3da8716-eaab-75db-efc1-60e88e1cd55e',
        pciBusId: '00000000:00:04.0',
        minor: 0,
        numaNode: null,
        model: 'Tesla P100-PCIE-16GB',
        memoryMiB: 16384,
      },
    ])
    expect(trail).toEqual([
      'mode=actual nvidia-smi=1 driver=510.47.03 cuda=11.6',
      'display adapter: ASPEED',
      '00000000:00:04.0 Tesla P100-PCIE-16GB 16384 MiB GPU-d3da8716-eaab-75db-efc1-60e88e1cd55e',
      'chosen 1 of 1: WORKERS has auto',
      'torch cu118: the driver runs CUDA 11.6, and no later build has code for Pascal',
    ])
  })

  test('two GPUs are ordered by PCI address, the NUMA node is found', () => {
    const facts = evidence(answer(fixture('two-p100.xml')), { numaNodes: new Map([['0000:3b:00.0', 1]]) })
    expect(chooseGpus(auto, facts).gpus.map(({ pciBusId, minor, numaNode }) => [pciBusId, minor, numaNode])).toEqual([
      ['00000000:1A:00.0', 0, null],
      ['00000000:3B:00.0', 1, 1],
    ])
    expect(chooseGpus(counted(1), facts).gpus.map(({ pciBusId }) => pciBusId)).toEqual(['00000000:1A:00.0'])
  })

  test('eight GPUs of a newer driver, minors are those of the driver', () => {
    const { gpus, torch } = chooseGpus(auto, evidence(answer(fixture('eight-h100.xml'))))
    expect(gpus.map(({ minor }) => minor)).toEqual([7, 1, 2, 3, 4, 5, 6, 0])
    expect(new Set(gpus.map(({ uuid }) => uuid)).size).toBe(8)
    expect(gpus[0]?.memoryMiB).toBe(81559)
    expect(torch.backend).toBe('cu130')
  })

  test('MIG devices take the place of their board, with the UUIDs of nvidia-smi -L', () => {
    const { gpus } = chooseGpus(
      auto,
      evidence(answer(fixture('a100-sxm4-mig.xml')), { list: answer(fixture('a100-sxm4-mig-L.txt')) }),
    )
    expect(gpus.map(({ uuid, model, memoryMiB, minor }) => [uuid, model, memoryMiB, minor])).toEqual([
      ['MIG-6f1d2c3b-8a4e-5f60-9b7c-1d2e3f405162', 'NVIDIA A100-SXM4-40GB MIG 3g.20gb', 19968, 0],
      ['MIG-b28e7f14-3c5d-5a69-8e0f-7a6b5c4d3e2f', 'NVIDIA A100-SXM4-40GB MIG 3g.20gb', 19968, 0],
    ])
    expect(failure(auto, evidence(answer(fixture('a100-sxm4-mig.xml')))).code).toBe('CM0904')
  })

  test('MIG without a device leaves nothing to use', () => {
    const xml = fixture('a100-sxm4-mig.xml').replace(
      /<mig_devices>[\s\S]*<\/mig_devices>/,
      '<mig_devices>None</mig_devices>',
    )
    const error = failure(auto, evidence(answer(xml)))
    expect([error.code, error.hint.includes('mig -cgi')]).toEqual(['CM0901', true])
  })

  test('too few GPUs: both numbers are named', () => {
    const error = failure(counted(3), evidence(answer(fixture('two-p100.xml'))))
    expect([error.code, error.message]).toEqual(['CM0902', 'WORKERS asks for 3 GPUs, the host has 2'])
    const wish: GpuWish = {
      ...auto,
      workers: [
        { type: 'a', count: 2 },
        { type: 'b', count: 'auto' },
      ],
    }
    expect(failure(wish, evidence(answer(fixture('two-p100.xml')))).message).toBe(
      'WORKERS asks for at least 3 GPUs, the host has 2',
    )
  })

  test.each<[string, GpuEvidence['query'], string]>([
    ['not installed', answer('', 127, 'nvidia-smi: ENOENT'), 'CM0901'],
    ['no device', answer('No devices were found\n', 6), 'CM0901'],
    ['no GPU in the answer', answer('<nvidia_smi_log><driver_version>1</driver_version></nvidia_smi_log>'), 'CM0901'],
    ['mismatch', answer('Failed to initialize NVML: Driver/library version mismatch\n', 18), 'CM0903'],
    ['mismatch on stderr', answer('', 18, 'Failed to initialize NVML: Driver/library version mismatch'), 'CM0903'],
    ['no driver', answer("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9), 'CM0904'],
    ['killed', answer('', null), 'CM0904'],
    ['half an answer', answer('<nvidia_smi_log><gpu id="x">'), 'CM0904'],
    ['a GPU without UUID', answer('<nvidia_smi_log><gpu id="00000000:00:04.0"/></nvidia_smi_log>'), 'CM0904'],
  ])('%s', (_name, query, code) => {
    expect(failure(auto, evidence(query)).code).toBe(code)
  })

  test('a lost GPU has a type of its own', () => {
    const lost = 'Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.  Reboot the system'
    expect(failure(auto, evidence(answer(lost, 15)))).toMatchObject({ code: 'CM0904', type: 'gpu_lost', message: lost })
  })

  test('mock mode touches nothing', () => {
    const wish: GpuWish = { ...auto, gpuMode: 'mock', mockGpuCount: 2 }
    expect(chooseGpus(wish, null).torch.backend).toBe('cpu')
    expect(chooseGpus(wish, null).gpus).toEqual(
      Array(2).fill({ uuid: null, pciBusId: null, minor: null, numaNode: null, model: 'mock', memoryMiB: 0 }),
    )
    expect(() => chooseGpus({ ...wish, workers: [{ type: 'comfyui', count: 3 }] }, null)).toThrow(/3 GPUs.*gives 2/)
  })
})

describe('the readers', () => {
  test('sysfs names a PCI function in lower case with four digits of domain', () => {
    expect(sysfsPciAddress('00000000:1A:00.0')).toBe('0000:1a:00.0')
    expect(sysfsPciAddress('00010000:01:00.0')).toBe('00010000:01:00.0')
    expect(sysfsPciAddress('0000:01:00.0')).toBe('0000:01:00.0')
  })

  test('lines before the XML are passed over, memory that is not counted is 0', () => {
    const xml = `WARNING: infoROM is corrupted\n${fixture('tesla-p100.xml').replace('16384 MiB', 'N/A')}`
    expect(parseNvidiaSmi(xml)?.gpus[0]?.memoryMiB).toBe(0)
  })

  test('XML that is not well formed is nothing', () => {
    for (const xml of ['', '<a>', '<a></b>', '<a/><b/>', 'text', '<a><</a>']) expect(parseXml(xml)).toBeUndefined()
    expect(parseXml('<a b="1 &amp; 2"> x &lt; y <!-- <z> --><c/></a>')).toEqual({
      name: 'a',
      attributes: { b: '1 & 2' },
      text: 'x < y',
      children: [{ name: 'c', attributes: {}, text: '', children: [] }],
    })
  })
})
