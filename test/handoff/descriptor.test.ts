import { fstatSync } from "node:fs";
import { expect, it } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native } from "../../handoff/native.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();

const GONE = "closed or handed on already";

it("a descriptor is closed once, however often it is told to, and not a stranger's with the same number", () => {
  const one = new Descriptor(native.memfd("one"));
  const number = one.fd;
  one.close();
  using other = new Descriptor(native.memfd("other"));
  expect(other.fd).toBe(number);
  one.close();
  expect(fstatSync(other.fd).ino).toBe(other.inode());
  expect([one.open, other.open]).toEqual([false, true]);
});

it("a descriptor that was closed or taken has no number any more", () => {
  const closed = new Descriptor(native.memfd("one"));
  closed.close();
  const taken = new Descriptor(native.memfd("one"));
  const number = taken.take();
  for (const one of [closed, taken]) {
    expect(() => one.fd).toThrow(GONE);
    expect(() => one.take()).toThrow(GONE);
    expect(() => one.duplicate()).toThrow(GONE);
    expect(() => one.inode()).toThrow(GONE);
    one.close();
  }
  native.close(number);
});

it("a duplicate is the same open file and has a life of its own", () => {
  const one = new Descriptor(native.memfd("one"));
  using other = one.duplicate();
  const inode = one.inode();
  one.close();
  expect(other.inode()).toBe(inode);
});

it("`using` closes what was not taken", () => {
  let number: number;
  {
    using closed = new Descriptor(native.memfd("one"));
    using taken = new Descriptor(native.memfd("two"));
    number = taken.take();
    expect(closed.open).toBe(true);
  }
  expect(fstatSync(number).isFile()).toBe(true);
  native.close(number);
});
