import { realpathSync } from 'node:fs'
import path from 'node:path'
import { MachineError } from '../errors.ts'
import type { Files } from './ports.ts'

/** Reads the unit templates of the package, by file name without `.ejs`. Throws CM0701 when there are none. */
export async function readTemplates(
  files: Files,
  program = process.argv[1] ?? '',
): Promise<ReadonlyMap<string, string>> {
  const home = path.dirname(realpathSync(program))
  const templates = new Map<string, string>()
  for (const directory of [path.join(home, 'units/templates'), path.join(home, '../units/templates')]) {
    for (const file of await files.list(directory)) {
      const text = file.endsWith('.ejs') ? await files.readText(path.join(directory, file)) : undefined
      if (text !== undefined) templates.set(file.slice(0, -'.ejs'.length), text)
    }
    if (templates.size > 0) return templates
  }
  throw new MachineError('CM0701', `there are no unit templates beside ${home}`)
}
