import type { GpuEvidence } from '../detect/choose-gpus.ts'
import type { Exec, Files } from './ports.ts'

const PCI_DEVICES = '/sys/bus/pci/devices'
const NVIDIA_VENDOR = '0x10de'
const TIMEOUT_MS = 60_000
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Asks nvidia-smi and /sys what GPUs this host has; never throws for what they answer. `graphics` are the display
 * adapters that were seen by other means. A driver without persistence may take tens of seconds for its first answer.
 */
export async function readGpuEvidence(
  exec: Exec,
  files: Files,
  graphics: readonly string[] = [],
): Promise<GpuEvidence> {
  const options = { timeoutMs: TIMEOUT_MS, env: { PATH, LC_ALL: 'C' } }
  const query = await exec.run(['nvidia-smi', '-q', '-x'], options)
  const list = query.code === 0 ? await exec.run(['nvidia-smi', '-L'], options) : query
  return { query, list, numaNodes: await readNumaNodes(files), graphics }
}

async function readNumaNodes(files: Files): Promise<ReadonlyMap<string, number>> {
  const nodes = new Map<string, number>()
  for (const address of await files.list(PCI_DEVICES)) {
    const vendor = await files.readText(`${PCI_DEVICES}/${address}/vendor`)
    if (vendor?.trim() !== NVIDIA_VENDOR) continue
    const node = Number(await files.readText(`${PCI_DEVICES}/${address}/numa_node`))
    if (Number.isInteger(node)) nodes.set(address, node)
  }
  return nodes
}
