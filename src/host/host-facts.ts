import { availableParallelism, cpus, totalmem } from 'node:os'
import type { HostFacts } from './ports.ts'

/** CPU and memory of this host, and, when `withGraphics`, the display adapters that systeminformation finds. */
export async function inspectHost(withGraphics: boolean): Promise<HostFacts> {
  return {
    cpuModel: cpus()[0]?.model.trim() ?? '',
    cpuCores: availableParallelism(),
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    graphics: withGraphics ? await (await import('./graphics.ts')).listDisplayAdapters() : [],
  }
}
