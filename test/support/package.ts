/** Installed copies of this package, as an operator has them: one folder a version, and a symlink that is moved. */
import { cpSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { root } from "./paths.ts";

/** Installs a copy of what is built, which says that it is `version`, in `folder`/`version`. */
export function install(folder: string, version: string): void {
  const target = `${folder}/${version}`;
  mkdirSync(target, { recursive: true });
  for (const name of ["bin", "dist"]) cpSync(`${root}/${name}`, `${target}/${name}`, { recursive: true });
  for (const name of ["build", "node_modules"]) symlinkSync(`${root}/${name}`, `${target}/${name}`);
  const manifest = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as object;
  writeFileSync(`${target}/package.json`, JSON.stringify({ ...manifest, version }));
}

/** Makes `folder`/current the version, in one step. */
export function choose(folder: string, version: string): void {
  symlinkSync(version, `${folder}/current.new`);
  renameSync(`${folder}/current.new`, `${folder}/current`);
}
