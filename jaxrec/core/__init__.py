"""Errors, files, settings and sharding: the parts that know nothing about recommendation."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.core.activations import (
        GATHERED as GATHERED,
        by_rows as by_rows,
        constrain as constrain,
        gathered as gathered,
        is_sharded as is_sharded,
        merge_rows as merge_rows,
        move as move,
        sharded as sharded,
        split_rows as split_rows,
        token_ways as token_ways,
    )
    from jaxrec.core.arrays import (
        read_array as read_array,
        read_arrays as read_arrays,
        read_mapped as read_mapped,
        write_arrays as write_arrays,
        write_mapped as write_mapped,
    )
    from jaxrec.core.bits import unpack_bits as unpack_bits
    from jaxrec.core.bound import Bound as Bound
    from jaxrec.core.collective_counts import Collective as Collective, collectives as collectives
    from jaxrec.core.compiles import CompileCounter as CompileCounter
    from jaxrec.core.engine import (
        LOCAL as LOCAL,
        Engine as Engine,
        Job as Job,
        LocalEngine as LocalEngine,
    )
    from jaxrec.core.errors import (
        ConfigError as ConfigError,
        DataError as DataError,
        DivergedError as DivergedError,
        Interrupted as Interrupted,
        JaxrecError as JaxrecError,
        OutOfMemory as OutOfMemory,
        ResourceError as ResourceError,
    )
    from jaxrec.core.faces import attach as attach
    from jaxrec.core.files import (
        RepeatedKey as RepeatedKey,
        check_file as check_file,
        check_name as check_name,
        check_writable as check_writable,
        not_writable as not_writable,
        read_json as read_json,
        to_json as to_json,
        to_json_rows as to_json_rows,
        unique_keys as unique_keys,
        write_bytes as write_bytes,
        write_text as write_text,
    )
    from jaxrec.core.flops import (
        device_names as device_names,
        peak_flops as peak_flops,
        product_flops as product_flops,
    )
    from jaxrec.core.given import (
        flag as flag,
        is_list as is_list,
        is_missing as is_missing,
        name_list as name_list,
        name_text as name_text,
        path_of as path_of,
        whole_number as whole_number,
    )
    from jaxrec.core.hints import mismatch as mismatch
    from jaxrec.core.lock import locked as locked
    from jaxrec.core.memory import (
        host_memory as host_memory,
        is_out_of_memory as is_out_of_memory,
        keep_memory as keep_memory,
    )
    from jaxrec.core.mesh import (
        PRESETS as PRESETS,
        MeshConfig as MeshConfig,
        ShardingRules as ShardingRules,
        batch_sharding as batch_sharding,
        describe_shardings as describe_shardings,
        is_box as is_box,
        make_mesh as make_mesh,
        param_shardings as param_shardings,
        replicated as replicated,
        ways as ways,
    )
    from jaxrec.core.numbers import (
        check_mask as check_mask,
        check_numbers as check_numbers,
        present as present,
    )
    from jaxrec.core.processes import (
        all_agree as all_agree,
        barrier as barrier,
        batch_shard as batch_shard,
        broadcast as broadcast,
        global_batch as global_batch,
        is_writer as is_writer,
        mean as mean,
        meet as meet,
        on_writer as on_writer,
        only_writer_prints as only_writer_prints,
    )
    from jaxrec.core.progress import (
        ProgressBar as ProgressBar,
        count_done as count_done,
        count_up as count_up,
    )
    from jaxrec.core.ranges import (
        Count as Count,
        LearningRate as LearningRate,
        NotNegative as NotNegative,
        Number as Number,
        Positive as Positive,
        PositiveShare as PositiveShare,
        Range as Range,
        Rate as Rate,
        Seed as Seed,
        Share as Share,
        Whole as Whole,
        check_made as check_made,
        check_number as check_number,
        check_ranges as check_ranges,
        field_ranges as field_ranges,
        option as option,
    )
    from jaxrec.core.ray_engine import RayEngine as RayEngine
    from jaxrec.core.sandbox import (
        Limits as Limits,
        Outcome as Outcome,
        run_many as run_many,
        run_python as run_python,
    )
    from jaxrec.core.settings import (
        check_types as check_types,
        flatten as flatten,
        from_dict as from_dict,
    )
    from jaxrec.core.suggestions import nearest as nearest
    from jaxrec.core.text import (
        printable as printable,
        quoted as quoted,
        shown_value as shown_value,
    )
    from jaxrec.core.units import show_bytes as show_bytes
else:
    from jaxrec.core.faces import attach

    __getattr__, __dir__, __all__ = attach(__name__)
