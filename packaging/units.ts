import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { renderPackagedUnits } from '../src/render/render-units.ts'

const folder = path.resolve(import.meta.dirname, '../units/templates')

/** Texts by file name of the units that the package ships besides comfy-machine.service: the health port with default values. */
export async function packagedUnits(): Promise<ReadonlyMap<string, string>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.ejs'))
  const read = async (name: string): Promise<[string, string]> => [
    name.slice(0, -'.ejs'.length),
    await readFile(path.join(folder, name), 'utf8'),
  ]
  const units = renderPackagedUnits(new Map(await Promise.all(names.map(read))))
  return new Map(units.map(({ name, text }) => [name, text]))
}
