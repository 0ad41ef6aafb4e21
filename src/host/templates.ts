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
  for (const directory of [path.join(home, 'units/templates'), path.join(home, '../units/templates')]) {
    const names = (await files.list(directory)).filter((file) => file.endsWith('.ejs'))
    const texts = await Promise.all(names.map((file) => files.readText(path.join(directory, file))))
    if (names.length > 0)
      return new Map(names.map((file, index) => [file.slice(0, -'.ejs'.length), texts[index] ?? '']))
  }
  throw new MachineError('CM0701', `there are no unit templates beside ${home}`)
}
