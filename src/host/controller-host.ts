import type { UpdateType } from '../emit/hub-message.ts'
import type { MachineHost } from '../machine-host.ts'
import { systemClock } from './clock.ts'
import { readConfigSources, readMappingSource } from './config-files.ts'
import { systemExec } from './exec.ts'
import { systemFiles } from './files.ts'
import { readGpuEvidence } from './gpu-evidence.ts'
import type { Identity } from './identity.ts'
import { openJournal } from './journal.ts'
import { openNotify } from './notify.ts'
import { connectManager } from './systemd-manager.ts'
import { readTemplates } from './templates.ts'

/** What the controller is told besides the host itself. */
export interface ControllerOptions {
  readonly identity: Identity
  readonly signal: AbortSignal
  readonly isFirstStart: boolean
  readonly tellHub: (updateType: UpdateType) => Promise<string | undefined>
}

/** The real host of the controller. Heavy libraries are loaded only when a step needs them. */
export function openControllerHost({ identity, signal, isFirstStart, tellHub }: ControllerOptions): MachineHost {
  const files = systemFiles
  return {
    clock: systemClock,
    files,
    journal: openJournal(),
    notify: openNotify(),
    signal,
    isFirstStart,
    connectManager,
    readConfig: () => readConfigSources(files),
    readIdentity: async () => identity,
    readMapping: () => readMappingSource(files),
    readTemplates: () => readTemplates(files),
    readGpuEvidence: (graphics) => readGpuEvidence(systemExec, files, graphics),
    inspectHost: async (withGraphics) => (await import('./host-facts.ts')).inspectHost(withGraphics),
    tellHub,
  }
}
