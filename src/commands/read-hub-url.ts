import { collectSettings } from '../config/collect.ts'
import { MachineError } from '../errors.ts'
import { readConfigSources } from '../host/config-files.ts'
import { systemFiles } from '../host/files.ts'

/** HUB_REDIS_URL (or REDIS_URL) as the configuration of this host has it. Throws CM0301 when it is nowhere. */
export async function readHubUrl(): Promise<string> {
  const { sources } = await readConfigSources(systemFiles)
  const { settings } = collectSettings(sources)
  const setting = settings.get('HUB_REDIS_URL') ?? settings.get('REDIS_URL')
  if (setting !== undefined) return setting.value
  throw new MachineError('CM0301', 'HUB_REDIS_URL is not set', {
    hint: 'Set it in /etc/comfy-machine/machine.env, or give --redis.',
  })
}
