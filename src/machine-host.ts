import type { ConfigSource } from './config/collect.ts'
import type { HostIdentity } from './config/load-config.ts'
import type { MappingSource } from './config/load-mapping.ts'
import type { Problem } from './config/problem.ts'
import type { GpuEvidence } from './detect/choose-gpus.ts'
import type { UpdateType } from './emit/hub-message.ts'
import type { Clock, Files, HostFacts, Journal, Manager, Notify } from './host/ports.ts'

/** Everything a start of the machine needs of the outside. */
export interface MachineHost {
  readonly clock: Clock
  readonly files: Files
  readonly journal: Journal
  readonly notify: Notify
  /** No start before this one since the host was booted. */
  readonly isFirstStart: boolean
  /** Aborts when systemd asks the controller to stop. */
  readonly signal: AbortSignal
  connectManager(): Promise<Manager>
  readConfig(): Promise<{ readonly sources: readonly ConfigSource[]; readonly problems: readonly Problem[] }>
  readIdentity(): Promise<HostIdentity>
  readMapping(): Promise<MappingSource>
  readTemplates(): Promise<ReadonlyMap<string, string>>
  readGpuEvidence(graphics: readonly string[]): Promise<GpuEvidence>
  inspectHost(withGraphics: boolean): Promise<HostFacts>
  /** Publishes the state on the hub; resolves to the reason when that was not possible. */
  tellHub(updateType: UpdateType): Promise<string | undefined>
}
